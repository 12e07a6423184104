"""Threads for plain functions. One user's blocked calls cannot take all of them, and none delays the process's exit."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import copy_context
from threading import Thread
from typing import Any, Final
from weakref import WeakKeyDictionary

from shared.agents.context import ToolError
from shared.core import logger

#: Plain functions that run at once: for one user, of one name, and in this process. More wait. An abandoned call counts
#: until its function returns.
_PER_USER: Final = 8
_PER_NAME: Final = 64
_PER_PROCESS: Final = 128

#: What a call returned, or what it raised. It is a result for asyncio, which would log an error that nobody retrieves.
_Outcome = tuple[Any, BaseException | None]


class NotStarted(ToolError):
    """No thread was free in time. The function was not called."""

    def __init__(self) -> None:
        super().__init__(
            "The call was not started, because too many earlier ones have not ended. It had no effect, and can be made"
            " again later."
        )


class Threads:
    """The threads of one event loop: one for each call, as long as it runs."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._waiting: list[asyncio.Future[None]] = []

    async def run(
        self, call: Callable[[], Any], *, name: str, user: str, wait_seconds: float
    ) -> Any:
        """What the call returns. If the caller is cancelled, the thread is abandoned: nothing can end it.

        `user`: the id of the user on whose behalf the call is made. `wait_seconds`: how long it may wait for a thread.

        Raises:
            NotStarted: no thread was free in time. And whatever the call raises.
        """
        shares = {f"user {user}": _PER_USER, f"name {name}": _PER_NAME, "all": _PER_PROCESS}
        try:
            async with asyncio.timeout(wait_seconds):
                await self._wait_for_room(shares)
        except TimeoutError:
            raise NotStarted from None
        outcome = self._start(call, name, shares)
        try:
            result, error = await outcome
        except asyncio.CancelledError:
            logger.warning("thread.abandoned", extra={"tool": name})
            raise
        if error is not None:
            raise error
        return result

    async def _wait_for_room(self, shares: Mapping[str, int]) -> None:
        while any(self._running[key] >= share for key, share in shares.items()):
            room = asyncio.get_running_loop().create_future()
            self._waiting.append(room)
            try:
                await room
            finally:
                # One that gives up must not stay in the list, which only the end of a call would empty.
                with suppress(ValueError):
                    self._waiting.remove(room)
        self._running.update(shares.keys())

    def _start(
        self, call: Callable[[], Any], name: str, shares: Mapping[str, int]
    ) -> "asyncio.Future[_Outcome]":
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[_Outcome] = loop.create_future()

        def run() -> None:
            ended = _outcome_of(call)
            # The loop is closed if the process has ended its work.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._end, shares, outcome, ended)

        try:
            # The copy has the ids that log lines carry.
            Thread(
                target=copy_context().run, args=(run,), name=f"call of {name}", daemon=True
            ).start()
        except RuntimeError:
            # The machine has no thread left.
            self._leave(shares)
            raise NotStarted from None
        return outcome

    def _end(
        self, shares: Mapping[str, int], outcome: "asyncio.Future[_Outcome]", ended: _Outcome
    ) -> None:
        self._leave(shares)
        if not outcome.done():
            outcome.set_result(ended)

    def _leave(self, shares: Mapping[str, int]) -> None:
        # Not `subtract`, which would keep the users who have no call.
        self._running -= Counter(shares.keys())
        waiting, self._waiting = self._waiting, []
        for room in waiting:
            if not room.done():
                room.set_result(None)


def _outcome_of(call: Callable[[], Any]) -> _Outcome:
    try:
        return call(), None
    except BaseException as error:
        return None, error


_OF_LOOPS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, Threads]] = WeakKeyDictionary()


def threads() -> Threads:
    """Those of the running loop."""
    return _OF_LOOPS.setdefault(asyncio.get_running_loop(), Threads())
