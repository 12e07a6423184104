"""Hand a run that waits to whoever executes it: an event to the Broker, a POST to the runner, or this process itself.

The event names a run and carries no authority: the row decides whether it may be claimed, and the claim is the dedupe.
"""

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

import orjson

from shared.core import Once, Settings, Unavailable, carried, doing, logger
from shared.database import Database

EVENT_TYPE = "agent.run.waiting"
#: How much longer a sender waits than a run may take in one process: for a start from zero, and for a place in a queue.
_MARGIN_SECONDS = 30
#: What a full or stopping process answers, and how long it may have its sender wait.
_FULL, _LONGEST_SECONDS = 503, 5.0


class Dispatcher:
    """Sends runs on their way. Every run at most once a minute: `dispatched_at` blocks the others.

    A delivery is open until the attempt that it started has ended, so that the platform counts it as a request and
    scales the runner by it. No run depends on it: when its sender goes, the run goes on. `take` claims a run for this
    process, where there is nobody to send it to, and says whether the run needs nobody else.
    """

    def __init__(
        self, database: Database, settings: Settings, take: Callable[[str], Awaitable[bool]]
    ) -> None:
        self._database = database
        self._address = settings.k_sink or settings.runner_url
        self._take = take
        self._seconds = settings.run_deadline_seconds + _MARGIN_SECONDS
        self._session: Once[Any] = Once(_open_session)
        #: The runs this process is sending: from before they are marked until their delivery ends.
        self.sending: set[str] = set()

    @property
    def has_address(self) -> bool:
        """Whether there is somebody to send a run to."""
        return bool(self._address)

    async def send(self, run_id: str) -> None:
        """Send a run that nobody dispatched lately; what fails is left to the sweep."""
        with self._sending(run_id) as is_new, suppress(Unavailable):
            if is_new and await self._database.call("mark_dispatched", run_id):
                await self._deliver(run_id)

    async def deliver(self, run_id: str) -> None:
        """Send a run that is marked, and wait until the attempt that this starts has ended."""
        with self._sending(run_id) as is_new:
            if is_new:
                await self._deliver(run_id)

    @contextmanager
    def _sending(self, run_id: str) -> Iterator[bool]:
        """Note a run as being sent, for a stop to see. False: its delivery from here is open already."""
        if run_id in self.sending:
            yield False
            return
        self.sending.add(run_id)
        try:
            yield True
        finally:
            self.sending.discard(run_id)

    async def _deliver(self, run_id: str) -> None:
        try:
            is_taken = await (self._post(run_id) if self._address else self._take(run_id))
        except Exception:
            logger.exception("run.not_dispatched", extra={"run": run_id})
            is_taken = False
        if not is_taken:
            with suppress(Unavailable):
                await self.clear([run_id])

    async def unheld(self, run_ids: Iterable[str]) -> set[str]:
        """Those of these runs that have not ended and that no process holds."""
        rows = await self._database.rows("unheld_runs", _uuids(run_ids))
        return {str(row["unheld_runs"]) for row in rows}

    async def clear(self, run_ids: Iterable[str]) -> None:
        """Let whoever finds these runs next send them at once, unless somebody has taken them."""
        await self._database.call("clear_dispatches", _uuids(run_ids))

    async def _post(self, run_id: str) -> bool:
        """Whether it was delivered."""
        facts = {"cloudevents.event_type": EVENT_TYPE, "messaging.operation.type": "send"}
        with doing(f"send {EVENT_TYPE}", facts, "PRODUCER") as span:
            if failure := await self._try_post(run_id):
                span.fail(failure)
                logger.warning("run.not_dispatched", extra={"run": run_id, "error": failure})
            return failure is None

    async def _try_post(self, run_id: str) -> str | None:
        """What went wrong, if anything did."""
        session = await self._session()
        import aiohttp

        try:
            async with session.post(
                self._address,
                data=orjson.dumps({"run_id": run_id}),
                headers=_headers(),
                timeout=aiohttp.ClientTimeout(total=self._seconds, connect=5),
                allow_redirects=False,
            ) as response:
                if response.status == _FULL:
                    # Only then may it be sent again: whoever reads the run would have it sent every second.
                    await asyncio.sleep(_retry_after(response.headers.get("retry-after", "")))
                response.raise_for_status()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return type(error).__name__
        return None

    async def close(self) -> None:
        if await self._session.settled():
            await (await self._session()).close()


def _retry_after(seconds: str) -> float:
    """What the header `Retry-After` asks for, where it is a number (RFC 9110 §10.2.3)."""
    return min(float(seconds), _LONGEST_SECONDS) if seconds.isdecimal() else 0.0


async def _open_session() -> Any:
    """In a thread: a process that wakes is importing the same there, and an import waits for another of it."""
    aiohttp = await asyncio.to_thread(importlib.import_module, "aiohttp")
    # A connection each, for as long as a run takes: the library's own limit of 100 would have the others wait.
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


def _uuids(run_ids: Iterable[str]) -> tuple[UUID, ...]:
    # The driver takes a list for JSON.
    return tuple(map(UUID, run_ids))


def _headers() -> dict[str, str]:
    """A CloudEvent in binary mode (CloudEvents 1.0.2, HTTP protocol binding §3.1).

    Its trace is told twice (extension Distributed Tracing): a Broker may have traces of its own on the way.
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
