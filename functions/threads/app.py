"""A user's threads over REST: list, create, read, rename, archive, delete, search, export."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Annotated, Literal
from urllib.parse import quote
from uuid import uuid4

from fastapi import Header, Query, Request, Response

from functions.threads import export, reading
from functions.threads.openapi import describe, file_response, thread_response
from functions.threads.parameters import (
    PRIVATE,
    After,
    Store,
    Tags,
    ThreadId,
    names,
    private_router,
    read_object,
    tags_of,
)
from functions.threads.shapes import NewThread, Thread, ThreadChanges, ThreadPage
from functions.threads.threads import TaggedThread, Threads
from shared.core import canonical, clean, clean_json
from shared.http import Process, User, create_app, openapi, read_body

#: How long an erasure removes rows before it responds; sweeps remove the rest.
_ERASE_SECONDS = 60.0

router = private_router()


@router.get(
    "/threads",
    operation_id="listThreads",
    tags=["threads"],
    responses=openapi.problems("invalid_cursor"),
)
async def list_threads(
    user: User,
    threads: Store,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 25,
    archived: Literal["false", "true", "all"] = "false",
    metadata: Annotated[
        str | None,
        Query(description="A JSON object that is contained.", examples=['{"project": "travel"}']),
    ] = None,
) -> ThreadPage:
    """A page of the user's threads, newest activity first."""
    metadata_filter = None if metadata is None else read_object(metadata)
    which = None if archived == "all" else archived == "true"
    return await threads.threads(
        user.claims, metadata=metadata_filter, archived=which, after=after, limit=limit
    )


@router.post(
    "/threads",
    operation_id="createThread",
    tags=["threads"],
    status_code=201,
    response_model=Thread,
    openapi_extra=openapi.body(NewThread),
    responses={
        **openapi.problems(
            "thread_exists", "thread_deleted", "idempotency_key_reused", "body_too_large"
        ),
        **thread_response(201, "ETag", "Location"),
        200: {
            "model": Thread,
            "description": "An earlier request with this Idempotency-Key created it.",
        },
    },
)
async def create_thread(
    request: Request,
    response: Response,
    user: User,
    threads: Store,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> Thread:
    """Create a thread. The same `Idempotency-Key` and body again creates no other."""
    new, body_json = await read_body(request, NewThread)
    members = {
        **clean_json(new.model_dump(by_alias=False)),
        "thread_id": new.thread_id or str(uuid4()),
    }
    key = None if idempotency_key is None else clean(idempotency_key)
    digest = hashlib.sha256(canonical(body_json)).hexdigest()
    result = await threads.create(user.claims, members, key, digest)
    response.status_code = 201 if result.created else 200
    # Relative, because clients see the gateway's address.
    response.headers["location"] = f"threads/{quote(result.thread.thread_id, safe='')}"
    return _with_etag(result, response)


@router.get(
    "/threads/{thread_id}",
    operation_id="readThread",
    tags=["threads"],
    response_model=Thread,
    responses={
        **openapi.problems("thread_not_found", "not_found"),
        **thread_response(200, "ETag"),
        304: {"description": "It still has the version that `If-None-Match` names."},
    },
)
async def read_thread(
    thread_id: ThreadId,
    response: Response,
    user: User,
    threads: Store,
    if_none_match: Tags = None,
) -> Thread | Response:
    """A thread."""
    result = await threads.read(user.claims, thread_id)
    if names(if_none_match, result.etag):
        return Response(status_code=304, headers={**PRIVATE, "etag": f'"{result.etag}"'})
    return _with_etag(result, response)


@router.patch(
    "/threads/{thread_id}",
    operation_id="updateThread",
    tags=["threads"],
    openapi_extra=openapi.body(ThreadChanges),
    responses={
        **openapi.problems(
            "thread_not_found", "not_found", "precondition_failed", "body_too_large"
        ),
        **thread_response(200, "ETag"),
    },
)
async def update_thread(
    thread_id: ThreadId,
    request: Request,
    response: Response,
    user: User,
    threads: Store,
    if_match: Tags = None,
) -> Thread:
    """Rename a thread, replace its metadata, archive it or take it back."""
    changes, _ = await read_body(request, ThreadChanges)
    members = clean_json(changes.model_dump(by_alias=False, exclude_unset=True))
    return _with_etag(
        await threads.update(user.claims, thread_id, members, tags_of(if_match)), response
    )


@router.delete(
    "/threads/{thread_id}",
    operation_id="deleteThread",
    tags=["threads"],
    status_code=204,
    responses=openapi.problems("thread_not_found", "not_found", "precondition_failed"),
)
async def delete_thread(
    thread_id: ThreadId, request: Request, user: User, threads: Store, if_match: Tags = None
) -> Response:
    """Delete a thread and cancel its runs. No reader sees it any more; retention removes its rows."""
    request_id = request.scope["request_id"]
    await threads.delete(user.claims, thread_id, tags_of(if_match), request_id)
    return Response(status_code=204)


@router.get(
    "/me/export",
    operation_id="exportMine",
    tags=["export"],
    response_class=Response,
    responses={**openapi.problems(), **file_response("application/x-ndjson")},
)
async def export_mine(request: Request, user: User, threads: Store) -> Response:
    """All data of the user as JSON Lines; each line's member `type` names its kind."""
    await threads.begin_export_of_all(user.claims, request.scope["request_id"])
    lines = export.user_as_lines(threads, user.claims)
    return export.download(lines, "export.jsonl", "application/x-ndjson")


@router.delete(
    "/me", operation_id="deleteMine", tags=["export"], status_code=204, responses=openapi.problems()
)
async def delete_mine(request: Request, user: User, threads: Store) -> Response:
    """Delete all data of the user: threads, runs, notes. Only the audit stays, which has no content."""
    await threads.erase(user.claims, request.scope["request_id"])
    ends_at = monotonic() + _ERASE_SECONDS
    while monotonic() < ends_at and await threads.remove_erased(user.claims):
        pass
    return Response(status_code=204)


def _with_etag(result: TaggedThread, response: Response) -> Thread:
    response.headers["etag"] = f'"{result.etag}"'
    return result.thread


@asynccontextmanager
async def thread_services(process: Process) -> AsyncIterator[Threads]:
    """The services of this function's routes."""
    yield Threads(process.database)


router.routes.extend(reading.router.routes)

app = create_app(
    "threads",
    router,
    thread_services,
    serves_users=True,
    requires=("supabase_database_url", "supabase_url", "gateway_public_keys"),
)
app.describe = describe
