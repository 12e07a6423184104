"""What a session offers to code that acts as a user: queries with named parameters (`:name`), one at a time."""

from collections.abc import AsyncIterator, KeysView, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class Row(Protocol):
    """A row by its columns' names: `row["number"]`, and `dict(row)` for all of them."""

    def keys(self) -> KeysView[str]: ...

    def __getitem__(self, column: str, /) -> Any: ...


class UserSession(Protocol):
    """A transaction that acts as a user. A connection of `databases` is one."""

    async def fetch_all(self, query: str, values: Any = None) -> Sequence[Row]:
        """All rows. `values`: those of the named parameters, by name."""
        ...

    async def fetch_one(self, query: str, values: Any = None) -> Row | None:
        """The first row; None if there is none, which includes rows that the user may not see."""
        ...

    async def fetch_val(self, query: str, values: Any = None) -> Any:
        """The first column of the first row; None if there is no row."""
        ...

    def iterate(self, query: str, values: Any = None) -> AsyncIterator[Row]:
        """The rows one after the other, for results that do not fit into memory."""
        ...

    async def execute(self, query: str, values: Any = None) -> Any:
        """Execute a statement; returns what `fetch_val` does."""
        ...

    async def execute_many(self, query: str, values: list[Mapping[str, Any]]) -> None:
        """Execute a statement once for each set of values."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[object]:
        """A savepoint: if its block raises, only that block is rolled back."""
        ...
