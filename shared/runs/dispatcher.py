"""Send a waiting run to a process that executes it: as an event to the Broker, or as a POST to the runner.

The event names a run and carries no authority: the row decides whether it may be claimed, and a second claim fails.
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

EVENT_TYPE = "agent.run.waiting"
#: A delivery may take this much longer than a run: its pod starts from zero, and it may queue.
_MARGIN_SECONDS = 30
#: The status of a full or stopping process, and how long its Retry-After may delay the next delivery.
_FULL, _LONGEST_SECONDS = 503, 5.0


class Dispatcher:
    """Sends runs, each at most once a minute: the mark in its row blocks other senders.

    A delivery stays open until the attempt it started ends, so that the platform counts it as a request and scales the
    runner by it. No run depends on it: when the sender goes, the run continues.
    """

    def __init__(
        self, waiting: WaitingRuns, background: BackgroundTasks, settings: RunSettings
    ) -> None:
        self._waiting = waiting
        self._background = background
        self._address = settings.k_sink or settings.runner_url
        self._seconds = settings.run_deadline_seconds + _MARGIN_SECONDS
        self._session: Once[Any] = Once(_open_session)
        #: The runs that this process is sending: from before they are marked until their delivery ends.
        self.sending: set[str] = set()
        #: Runs for which `send` was called again while their first send was in progress.
        self._repeated: set[str] = set()

    @property
    def has_address(self) -> bool:
        """Whether there is a Broker or a runner."""
        return bool(self._address)

    def send(self, run_id: str, *, is_marked: bool = False) -> None:
        """Send a run in the background, unless it was sent within the last minute. A sweep repeats what fails.

        While it is being sent, another call has it sent again afterwards, if it waits then.
        """
        if run_id in self.sending:
            self._repeated.add(run_id)
            return
        self.sending.add(run_id)
        self._background.start(self._send(run_id, is_marked=is_marked))

    async def _send(self, run_id: str, *, is_marked: bool) -> None:
        with self._noted(run_id), suppress(Unavailable):
            while is_marked or await self._mark(run_id):
                self._repeated.discard(run_id)
                await self._deliver(run_id)
                if run_id not in self._repeated:
                    return
                # Its attempt may have been here, and have released it.
                is_marked = False

    async def _mark(self, run_id: str) -> bool:
        """Mark a run as sent. If `send` was called again since, a refusal may be out of date, and is tried again."""
        while not await self._waiting.mark(run_id):
            if run_id not in self._repeated:
                return False
            # The run before it in its thread may have ended since.
            self._repeated.discard(run_id)
        return True

    @contextmanager
    def _noted(self, run_id: str) -> Iterator[None]:
        try:
            yield
        finally:
            self.sending.discard(run_id)
            self._repeated.discard(run_id)

    async def _deliver(self, run_id: str) -> None:
        """Wait until the attempt that this delivery starts has ended; where none starts, clear the mark."""
        facts = {"cloudevents.event_type": EVENT_TYPE, "messaging.operation.type": "send"}
        with doing(f"send {EVENT_TYPE}", facts, "PRODUCER") as span:
            if failure := await self._post(run_id):
                span.fail(failure)
                logger.warning("run.not_dispatched", extra={"run_id": run_id, "error": failure})
                await self._waiting.clear([run_id])

    async def _post(self, run_id: str) -> str | None:
        """POST the event. Returns what went wrong, if anything did."""
        try:
            status, retry_after = await self._exchange(run_id)
        except Exception as error:
            return type(error).__name__
        if status == _FULL:
            # Keep the mark until then: otherwise each reader would have the run sent every second.
            await asyncio.sleep(retry_after)
        return None if status < 300 else f"HTTP {status}"

    async def _exchange(self, run_id: str) -> tuple[int, float]:
        """The status of the answer, and its Retry-After in seconds."""
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
    """A session, made in a thread: a waking process imports the same there, and one import waits for another."""
    aiohttp = await asyncio.to_thread(importlib.import_module, "aiohttp")
    # One connection per delivery, for as long as a run takes: the library's own limit of 100 would queue the others.
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


def _headers() -> dict[str, str]:
    """A CloudEvent in binary mode (CloudEvents 1.0.2, HTTP protocol binding §3.1).

    Its trace stands there twice (extension Distributed Tracing): a Broker may have traces of its own on the way.
    """
    trace = carried()
    return {
        **trace,
        **{f"ce-{name}": value for name, value in trace.items()},
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": str(uuid4()),
        "ce-source": "/agent-functions",
        "ce-type": EVENT_TYPE,
    }
