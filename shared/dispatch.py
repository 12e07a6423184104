"""Hand a run that waits to whoever executes it: an event to the Broker, a POST to the runner, or this process itself.

The event names a run and carries no authority: the row decides whether it may be claimed, and the claim is the dedupe.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

import orjson

from shared.database import Database
from shared.log import logger
from shared.problems import Unavailable
from shared.settings import Settings

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
        self._session: Any = None

    async def send(self, run_id: str) -> None:
        """Send a run that nobody dispatched lately; what fails is left to the sweep."""
        with suppress(Unavailable):
            if await self._database.call("mark_dispatched", run_id):
                await self.deliver(run_id)

    async def hand_over(self, run_id: str) -> None:
        """Send a run of a process that stops: without an address there is nobody to send it to."""
        if self._address:
            with suppress(TimeoutError):
                # A runner answers when the run is done; we only have to be heard.
                async with asyncio.timeout(_HEARD_SECONDS):
                    await self.send(run_id)

    async def deliver(self, run_id: str) -> None:
        """Send a run that is marked."""
        if not self._address:
            await self._take_up(run_id)
            return
        import aiohttp

        try:
            await self._post(aiohttp, self._address, run_id)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            logger.warning(
                "run.not_dispatched", extra={"run": run_id, "error": type(error).__name__}
            )
            with suppress(Unavailable):
                await self._database.call("unmark_dispatched", run_id)

    async def _post(self, aiohttp: Any, address: str, run_id: str) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        # A Broker answers at once; the runner when the run is done.
        timeout = aiohttp.ClientTimeout(
            total=self._seconds + 30 if self._is_held_open else 30, connect=5
        )
        async with (
            self._slots,
            self._session.post(
                address,
                data=orjson.dumps({"run_id": run_id}),
                headers=_headers(),
                timeout=timeout,
                allow_redirects=False,
            ) as response,
        ):
            response.raise_for_status()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _headers() -> dict[str, str]:
    """A CloudEvent in binary mode (CloudEvents 1.0.2, HTTP protocol binding §3.1)."""
    return {
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": str(uuid4()),
        "ce-source": "/agent-functions",
        "ce-type": EVENT_TYPE,
    }
