"""Dispatches waiting runs to a process that executes them: as an event to the Broker, or as a POST to the runner.

The event names a run and gives no rights: the run's row decides whether it may be claimed, and a second claim fails.
"""

import asyncio
import importlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

import orjson

from shared.core import Once, RunSettings, Unavailable, carried, doing, logger
from shared.runs.background import BackgroundTasks
from shared.runs.waiting import WaitingRuns

#: The type of the CloudEvent that a delivery carries.
CLOUD_EVENT_TYPE = "agent.run.waiting"
#: A delivery may take this much longer than a run: its pod starts from zero, and it may queue.
_MARGIN_SECONDS = 30
#: The status of a full or stopping process, and how long its Retry-After may delay the next delivery.
_FULL, _LONGEST_SECONDS = 503, 5.0


class Dispatcher:
    """Dispatches runs in the background, each at most once a minute: the mark in its row blocks other dispatchers.

    A delivery stays open until the attempt that it started ends: the platform counts it as a request, and scales the
    runner by the number of requests. No run depends on its delivery: it continues after the dispatching process has
    exited.
    """

    def __init__(
        self, waiting: WaitingRuns, background: BackgroundTasks, settings: RunSettings
    ) -> None:
        self._waiting = waiting
        self._background = background
        self._address = settings.k_sink or settings.runner_url
        self._seconds = settings.run_deadline_seconds + _MARGIN_SECONDS
        self._session: Once[Any] = Once(_open_session)
        #: The runs that this process is dispatching: from before each is marked until its delivery ends.
        self.runs_being_dispatched: set[str] = set()
        #: Runs for which `dispatch` was called again while their first dispatch was in progress.
        self._runs_to_repeat: set[str] = set()

    @property
    def has_address(self) -> bool:
        """Whether there is a Broker or a runner."""
        return bool(self._address)

    def dispatch(self, run_id: str, *, is_marked: bool = False) -> None:
        """Dispatch a run, unless that was done within the last minute. If it fails, a sweep dispatches the run again.

        If the run is being dispatched already, this is remembered; when that delivery ends and the run still waits, it
        is dispatched again. `is_marked`: the caller has marked the run as dispatched.
        """
        if run_id in self.runs_being_dispatched:
            self._runs_to_repeat.add(run_id)
            return
        self.runs_being_dispatched.add(run_id)
        self._background.start(self._dispatch(run_id, is_marked=is_marked))

    async def _dispatch(self, run_id: str, *, is_marked: bool) -> None:
        with self._forget_at_end(run_id), suppress(Unavailable):
            while is_marked or await self._mark(run_id):
                self._runs_to_repeat.discard(run_id)
                await self._deliver(run_id)
                if run_id not in self._runs_to_repeat:
                    return
                # The attempt may have been in this process, which has released the run since.
                is_marked = False

    async def _mark(self, run_id: str) -> bool:
        """Mark a run as dispatched. If `dispatch` was called meanwhile, a refusal may be out of date: try again."""
        while not await self._waiting.mark(run_id):
            if run_id not in self._runs_to_repeat:
                return False
            # The run before it in its thread may have ended meanwhile.
            self._runs_to_repeat.discard(run_id)
        return True

    @contextmanager
    def _forget_at_end(self, run_id: str) -> Iterator[None]:
        try:
            yield
        finally:
            self.runs_being_dispatched.discard(run_id)
            self._runs_to_repeat.discard(run_id)

    async def _deliver(self, run_id: str) -> None:
        """Deliver the event, which takes as long as the attempt that it starts. After a failure, clear the mark."""
        facts = {"cloudevents.event_type": CLOUD_EVENT_TYPE, "messaging.operation.type": "send"}
        with doing(f"send {CLOUD_EVENT_TYPE}", facts, "PRODUCER") as span:
            if failure := await self._post(run_id):
                span.fail(failure)
                logger.warning("run.not_dispatched", extra={"run_id": run_id, "error": failure})
                await self._waiting.clear([run_id])

    async def _post(self, run_id: str) -> str | None:
        """POST the event. Returns the error, if there was one."""
        try:
            status, retry_after = await self._exchange(run_id)
        except Exception as error:
            return type(error).__name__
        if status == _FULL:
            # Keep the mark for the time of `Retry-After`; otherwise each reader would dispatch the run every second.
            await asyncio.sleep(retry_after)
        return None if status < 300 else f"HTTP {status}"

    async def _exchange(self, run_id: str) -> tuple[int, float]:
        """The status of the response, and its Retry-After in seconds."""
        session = await self._session()
        import aiohttp

        async with session.post(
            self._address,
            data=orjson.dumps({"run_id": run_id}),
            headers=_headers(),
            timeout=aiohttp.ClientTimeout(total=self._seconds, connect=5),
            allow_redirects=False,
        ) as response:
            return response.status, _retry_after(response.headers.get("retry-after", ""))

    async def close(self) -> None:
        if await self._session.settled():
            await (await self._session()).close()


def _retry_after(seconds: str) -> float:
    """The seconds of the header `Retry-After`, where it is a number (RFC 9110 §10.2.3)."""
    return min(float(seconds), _LONGEST_SECONDS) if seconds.isdecimal() else 0.0


async def _open_session() -> Any:
    """A session. On the event loop, the import would wait for those that a waking process makes in threads."""
    aiohttp = await asyncio.to_thread(importlib.import_module, "aiohttp")
    # One connection per delivery, for as long as a run takes: the library's own limit of 100 would queue the others.
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


def _headers() -> dict[str, str]:
    """A CloudEvent in binary mode (CloudEvents 1.0.2, HTTP protocol binding §3.1).

    It has the trace twice, as headers and as attributes of the event (extension Distributed Tracing): a Broker may
    send its own trace in the headers.
    """
    trace = carried()
    return {
        **trace,
        **{f"ce-{name}": value for name, value in trace.items()},
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": str(uuid4()),
        "ce-source": "/agent-functions",
        "ce-type": CLOUD_EVENT_TYPE,
    }
