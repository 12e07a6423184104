"""Routes that read threads: their items, runs and logs; search; export."""

from typing import Annotated, Literal

from fastapi import Query, Request, Response

from functions.threads import export, pages
from functions.threads.openapi import file_response
from functions.threads.parameters import After, RunId, Store, ThreadId, private_router
from functions.threads.shapes import HitPage, ItemPage, LogPage, RunPage
from functions.threads.threads import Window
from shared.core import clean
from shared.http import User, openapi

router = private_router()


@router.get(
    "/threads/{thread_id}/items",
    operation_id="listItems",
    tags=["threads"],
    responses=openapi.problems("thread_not_found", "not_found", "invalid_cursor"),
)
async def list_items(
    thread_id: ThreadId,
    user: User,
    threads: Store,
    after: After = None,
    before: After = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    order: Literal["asc", "desc"] = "asc",
    superseded: bool = False,
) -> ItemPage:
    """A page of a thread's items. `after` continues in the direction of `order`, `before` against it."""
    window = Window(pages.position(after), pages.position(before), order == "desc", superseded)
    return await threads.items(user.claims, thread_id, window, limit)


@router.get(
    "/threads/{thread_id}/runs",
    operation_id="listRuns",
    tags=["runs"],
    responses=openapi.problems("thread_not_found", "not_found", "invalid_cursor"),
)
async def list_runs(
    thread_id: ThreadId,
    user: User,
    threads: Store,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 25,
) -> RunPage:
    """A page of a thread's runs, newest first."""
    return await threads.runs(user.claims, thread_id, after, limit)


@router.get(
    "/threads/{thread_id}/runs/{run_id}/log",
    operation_id="readLog",
    tags=["runs"],
    responses=openapi.problems("thread_not_found", "run_not_found", "not_found"),
)
async def read_log(
    thread_id: ThreadId,
    run_id: RunId,
    user: User,
    threads: Store,
    after: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> LogPage:
    """The stored part of a run's native log after a `seq`."""
    return await threads.log(user.claims, thread_id, run_id, after, limit)


@router.get(
    "/search", operation_id="search", tags=["threads"], responses=openapi.problems("invalid_cursor")
)
async def search(
    user: User,
    threads: Store,
    q: Annotated[str, Query(min_length=1, max_length=200, examples=["lisbon -hotel"])],
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=50)] = 20,
) -> HitPage:
    """Titles and messages that contain all words. `"a phrase"`, `or` and `-without` are supported."""
    return await threads.search(user.claims, clean(q), after, limit)


@router.get(
    "/threads/{thread_id}/export",
    operation_id="exportThread",
    tags=["export"],
    response_class=Response,
    responses={
        **openapi.problems("thread_not_found", "not_found"),
        **file_response("application/x-ndjson", "text/markdown"),
    },
)
async def export_thread(
    thread_id: ThreadId,
    request: Request,
    user: User,
    threads: Store,
    format: Literal["jsonl", "markdown"] = "jsonl",
    superseded: bool = False,
) -> Response:
    """A whole thread as a file: JSON Lines for programs, Markdown for people."""
    thread = await threads.begin_export(user.claims, thread_id, request.scope["request_id"])
    if format == "markdown":
        text = export.thread_as_markdown(threads, user.claims, thread)
        return export.download(text, f"{thread_id}.md", "text/markdown")
    lines = export.thread_as_lines(threads, user.claims, thread, superseded=superseded)
    return export.download(lines, f"{thread_id}.jsonl", "application/x-ndjson")
