"""Exports as streams, page after page, so that a slow reader holds neither a connection nor a transaction."""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

import orjson
from fastapi import Response
from pydantic.alias_generators import to_camel

from functions.threads import pages
from functions.threads.shapes import Item, Thread
from functions.threads.threads import Threads, Window
from shared.core import Json
from shared.http import StreamedResponse

_ITEMS = 200
_ROWS = 200
#: The kinds of a user's rows, and the place before the first row of each.
_KINDS: Final = {
    "thread": "",
    "run": "",
    "item": "0",
    "interrupt": "00000000-0000-0000-0000-000000000000",
    "note": "",
    "audit_event": "0",
}
_UNSAFE = re.compile(r"[^\w.-]+", re.ASCII)


def download(parts: AsyncGenerator[bytes, None], name: str, kind: str) -> Response:
    """A response that a browser saves as the file `name` (RFC 6266)."""
    headers = {
        "content-disposition": f'attachment; filename="{_UNSAFE.sub("_", name)}"',
        "cache-control": "private, no-store",
        "x-accel-buffering": "no",
    }
    return StreamedResponse(parts, kind, headers)


async def thread_as_lines(
    threads: Threads, claims: Json, thread: Thread, *, superseded: bool
) -> AsyncGenerator[bytes, None]:
    """JSON Lines: the thread, then its items."""
    yield _line("thread", thread.model_dump(mode="json"))
    async for items in _items(threads, claims, thread.thread_id, superseded=superseded):
        yield b"".join(_line("item", item.model_dump(mode="json")) for item in items)


async def thread_as_markdown(
    threads: Threads, claims: Json, thread: Thread
) -> AsyncGenerator[bytes, None]:
    """Markdown for people: messages, and the calls between them."""
    title = " ".join((thread.title or thread.thread_id).split())
    yield f"# {title}\n".encode()
    async for items in _items(threads, claims, thread.thread_id, superseded=False):
        yield "".join(map(_section, items)).encode()


async def user_as_lines(threads: Threads, claims: Json) -> AsyncGenerator[bytes, None]:
    """JSON Lines: all data of a user, kind by kind."""
    for kind, after in _KINDS.items():
        while rows := await threads.export(claims, kind, after, _ROWS):
            after = str(rows[-1]["cursor"])
            yield b"".join(_line(kind, _camel(row)) for row in rows)


async def _items(
    threads: Threads, claims: Json, key: str, *, superseded: bool
) -> AsyncIterator[list[Item]]:
    cursor: str | None = None
    while True:
        window = Window(after=pages.position(cursor), superseded=superseded)
        page = await threads.items(claims, key, window, _ITEMS)
        yield page.data
        if (cursor := page.next) is None:
            return


def _line(kind: str, row: Json) -> bytes:
    return orjson.dumps({"type": kind, **row}) + b"\n"


def _camel(row: Json) -> Json:
    return {to_camel(name): value for name, value in row.items() if name != "cursor"}


def _section(item: Item) -> str:
    """An item as Markdown, without reasoning."""
    data = item.data
    match item.kind:
        case "message":
            return (
                f"\n## {str(data.get('role', '')).capitalize()}\n\n{_text(data.get('content'))}\n"
            )
        case "tool_call":
            return f"\n### Call of {data.get('name')}\n\n{_code_block(str(data.get('arguments', '')))}\n"
        case "tool_result":
            return f"\n### Result\n\n{_code_block(_text(data.get('content')))}\n"
        case "summary":
            return f"\n### Summary of what comes before\n\n{data.get('text', '')}\n"
    return ""


def _text(content: object) -> str:
    """A content's text; other parts become their type's name."""
    if not isinstance(content, list):
        return str(content or "")
    return "\n\n".join(
        str(part["text"]) if "text" in part else f"*({part.get('type', 'part')})*"
        for part in content
        if isinstance(part, dict)
    )


def _code_block(text: str) -> str:
    """A code block whose fence does not occur in the text."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
