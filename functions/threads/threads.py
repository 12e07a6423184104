"""A user's threads in Postgres: one statement each, as that user. Returns the shapes of `shapes.py`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from functions.threads import pages
from functions.threads.shapes import (
    HitPage,
    Item,
    ItemPage,
    LogPage,
    LogRow,
    Page,
    Part,
    RunPage,
    Thread,
    ThreadPage,
)
from shared.core import Json, problem_of, public_data
from shared.database import Database, Refused

PageType = TypeVar("PageType", bound=Page[Any])
_MATCH = re.compile("\ue000([^\ue001]*)\ue001")


@dataclass(frozen=True, slots=True)
class TaggedThread:
    """A thread and its entity tag, unquoted. `created`: this request created it."""

    thread: Thread
    etag: str
    created: bool = False

    @classmethod
    def from_row(cls, row: Json) -> "TaggedThread":
        return cls(Thread.model_validate(row["thread"]), row["etag"], row.get("created", False))


@dataclass(frozen=True, slots=True)
class Window:
    """Which items of a thread: those after or before a position, in an order."""

    after: int | None = None
    before: int | None = None
    descends: bool = False
    superseded: bool = False

    def arguments(self) -> tuple[int | None, int | None, bool, bool]:
        """The positions between which to look, whether to start at the upper end, whether superseded items count."""
        above, below = self.after, self.before
        if self.descends:
            above, below = below, above
        goes_back = self.before is not None and self.after is None
        return above, below, self.descends != goes_back, self.superseded


class Threads:
    """A user's access to threads. Another user's thread behaves as absent: ThreadNotFound."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def threads(
        self,
        claims: Json,
        *,
        metadata: Json | None,
        archived: bool | None,
        after: str | None,
        limit: int,
    ) -> ThreadPage:
        """Threads that contain `metadata`, newest activity first. `archived` None: all."""
        place = pages.moment(after)
        rows = await self._call("list_threads", claims, metadata, archived, place, limit + 1)
        for row in rows:
            row["at"] = row["updated_at"]
        return _page(ThreadPage, rows, limit)

    async def create(
        self, claims: Json, new: Json, request_key: str | None, request_hash: str
    ) -> TaggedThread:
        """Create a thread; the same request key and hash again gives the same one.

        Raises:
            ThreadExists, ThreadDeleted, IdempotencyKeyReused: see each.
        """
        members = (new["thread_id"], new["title"], new["metadata"])
        row = await self._call("create_thread", claims, *members, request_key, request_hash)
        return TaggedThread.from_row(row)

    async def read(self, claims: Json, key: str) -> TaggedThread:
        return TaggedThread.from_row(await self._call("read_thread", claims, key))

    async def update(
        self, claims: Json, key: str, changes: Json, tags: Sequence[str] | None
    ) -> TaggedThread:
        """Change the members in `changes`, if the thread still has one of these tags (None: any tag).

        Raises:
            PreconditionFailed: it has another tag.
        """
        return TaggedThread.from_row(await self._call("update_thread", claims, key, changes, tags))

    async def delete(
        self, claims: Json, key: str, tags: Sequence[str] | None, request_id: str
    ) -> None:
        """Hide a thread from its user and from agents, and cancel its runs. Raises as `update` does."""
        await self._call("delete_thread", claims, key, tags, request_id)

    async def items(self, claims: Json, key: str, window: Window, limit: int) -> ItemPage:
        """A page of a thread's items."""
        row = await self._call("list_items", claims, key, *window.arguments(), limit)
        items = row["items"]
        has_more = {"next": row["has_higher"], "previous": row["has_lower"]}
        if window.descends:
            items.reverse()
            has_more = {"next": row["has_lower"], "previous": row["has_higher"]}
        ends = {"next": items[-1:], "previous": items[:1]}
        return ItemPage(
            data=[Item.model_validate(item) for item in items],
            **{
                end: pages.to_cursor(ends[end][0], "position") if has_more[end] else None
                for end in ends
            },
        )

    async def runs(self, claims: Json, key: str, after: str | None, limit: int) -> RunPage:
        """A page of a thread's runs, newest first."""
        rows = await self._call("list_runs", claims, key, pages.moment(after), limit + 1)
        return _page(RunPage, rows, limit)

    async def log(
        self, claims: Json, key: str, client_run_id: str, after: int, limit: int
    ) -> LogPage:
        """Rows of a run's log after `after`, a `seq`.

        Raises:
            RunNotFound: the thread has no such run.
        """
        rows = await self._call("list_events", claims, key, client_run_id, after, limit + 1)
        page = [LogRow.model_validate(row) for row in rows[:limit]]
        return LogPage(data=page, next=page[-1].seq if len(rows) > limit else None)

    async def search(self, claims: Json, words: str, after: str | None, limit: int) -> HitPage:
        """Titles and messages that contain the words, titles first, newest first."""
        matches = await self._call("search_threads", claims, words, pages.hit(after), limit + 1)
        threads = {row["id"]: row for row in matches["threads"]}
        for row in matches["hits"]:
            row["thread"] = threads[row["thread"]]
            row["snippet"] = _parts(row["snippet"])
        return _page(HitPage, matches["hits"], limit)

    async def begin_export(self, claims: Json, key: str, request_id: str) -> Thread:
        """The thread to export, after an audit entry of the export."""
        return TaggedThread.from_row(
            await self._call("export_thread", claims, key, request_id)
        ).thread

    async def begin_export_of_all(self, claims: Json, request_id: str) -> None:
        """The same for all the user has.

        Raises:
            Unauthorized: there is no such user any more.
        """
        await self._call("export_user", claims, request_id)

    async def export(self, claims: Json, kind: str, after: str | None, limit: int) -> list[Json]:
        """Rows of one kind of all the user has, each with its `cursor`."""
        rows: list[Json] = await self._call("export_rows", claims, kind, after, limit)
        if kind == "item":
            for row in rows:
                row["data"] = public_data(row["data"])
        return rows

    async def erase(self, claims: Json, request_id: str) -> None:
        """Hide everything of a user, and cancel their runs; `remove_erased` removes it."""
        await self._call("erase_user", claims, request_id)

    async def remove_erased(self, claims: Json) -> int:
        """Remove some thousands of hidden rows. Returns how many; 0 once there are none."""
        return await self._call("remove_erased", claims)  # type: ignore[no-any-return]

    async def _call(self, function: str, *arguments: Any) -> Any:
        try:
            return await self._database.call(function, *arguments)
        except Refused as refused:
            raise problem_of(refused.code) from None


def _page(kind: type[PageType], rows: list[Json], limit: int) -> PageType:
    """The first `limit` of rows, and the cursor of the last of them if there are more."""
    page, cursor = rows[:limit], None
    if len(rows) > limit:
        members = ("at", "id") if page[-1].get("position") is None else ("position",)
        cursor = pages.to_cursor(page[-1], *members)
    return kind.model_validate({"data": page, "next": cursor})


def _parts(snippet: str) -> list[Part]:
    # Of what a split gives, every second piece is a match.
    pieces = enumerate(_MATCH.split(snippet))
    return [Part(text=text, match=nth % 2 == 1) for nth, text in pieces if text]
