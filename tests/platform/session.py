"""A base class for objects with a client session of their own."""

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from tests.platform.proxy import connecting


class WithSession:
    """A context: it has a session and whatever else `_enter` puts on its stack, until it is left."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._session = await self._stack.enter_async_context(connecting())
        await self._enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def _enter(self) -> None:
        """Start the servers and tasks that use the session."""
