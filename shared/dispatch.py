"""Hand a run that waits to whoever executes it: an event to the Broker, a POST to the runner, or this process itself.

The event names a run and carries no authority: the row decides whether it may be claimed, and the claim is the dedupe.
"""

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

import orjson

from shared.database import Database
from shared.finishing import Once
from shared.log import logger
from shared.problems import Unavailable
from shared.settings import Settings
from shared.telemetry import carried, doing

EVENT_TYPE = "agent.run.waiting"
#: Without a Broker, a delivery is held open while the run is executed: few at a time.
_HELD_OPEN = 4
_HEARD_SECONDS = 0.4


class Dispatch:
    """Sends runs on their way. Every run at most once a minute: `dispatched_at` blocks the others."""

    def __init__(
        self, database: Database, settings: Settings, take_up: Callable[[str], Awaitable[None]]
    ) -> None:
        self._database = database
        self._is_held_open = not settings.k_sink
        self._address = settings.k_sink or settings.runner_url
        self._take_up = take_up
        self._slots = asyncio.Semaphore(_HELD_OPEN)
        self._seconds = settings.run_deadline_seconds
        self._session: Once[Any] = Once(_open_session)

    async def send(self, run_id: str) -> None:
        """Send a run that nobody dispatched lately; what fails is left to the sweep."""
        with suppress(Unavailable):
            if await self._database.call("mark_dispatched", run_id):
                await self.deliver(run_id)

    async def hand_over(self, run_id: str) -> None:
        """Send a run of a process that stops, all at once: without an address there is nobody to send it to."""
        if not self._address:
            return
        with suppress(Unavailable, TimeoutError):
            if await self._database.call("mark_dispatched", run_id):
                # A runner answers when the run is done; it only has to be heard.
                async with asyncio.timeout(_HEARD_SECONDS):
                    await self._post(run_id)

    async def deliver(self, run_id: str) -> None:
        """Send a run that is marked."""
        if not self._address:
            await self._take_up(run_id)
            return
        async with self._slots:
            await self._post(run_id)

    async def _post(self, run_id: str) -> None:
        facts = {"cloudevents.event_type": EVENT_TYPE, "messaging.operation.type": "send"}
        with doing(f"send {EVENT_TYPE}", facts, "PRODUCER") as span:
            if failure := await self._try_post(run_id):
                span.fail(failure)
                logger.warning("run.not_dispatched", extra={"run": run_id, "error": failure})
                with suppress(Unavailable):
                    await self._database.call("unmark_dispatched", run_id)

    async def _try_post(self, run_id: str) -> str | None:
        """What went wrong, if anything did."""
        session = await self._session()
        import aiohttp

        # A Broker answers at once; the runner when the run is done.
        seconds = self._seconds + 30 if self._is_held_open else 30
        try:
            async with session.post(
                self._address,
                data=orjson.dumps({"run_id": run_id}),
                headers=_headers(),
                timeout=aiohttp.ClientTimeout(total=seconds, connect=5),
                allow_redirects=False,
            ) as response:
                response.raise_for_status()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return type(error).__name__
        return None

    async def close(self) -> None:
        if await self._session.settled():
            await (await self._session()).close()


async def _open_session() -> Any:
    """In a thread: a process that wakes is importing the same there, and an import waits for another of it."""
    aiohttp = await asyncio.to_thread(importlib.import_module, "aiohttp")
    return aiohttp.ClientSession()


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
