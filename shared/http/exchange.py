"""Bodies in, server-sent events out."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final, TypeVar, cast

import orjson
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.core import InvalidRequest, Json, clean_json

#: A server-sent comment, which clients skip and proxies count as traffic.
KEEP_ALIVE: Final = b": ping\n\n"
Body = TypeVar("Body", bound=BaseModel)


async def read_body(request: Request, kind: type[Body]) -> tuple[Body, Json]:
    """The request's JSON as `kind`, and as it came. Read after the caller is verified, unlike a route's parameter.

    Raises:
        InvalidRequest: it is not JSON, or is nested too deeply.
        RequestValidationError: it does not have that shape.
    """
    try:
        body = _loads(await request.body())
        return kind.model_validate(body), body
    except ValidationError as error:
        errors = [{**e, "loc": ("body", *e["loc"])} for e in error.errors(include_input=False)]
        raise RequestValidationError(errors) from None
    except (ValueError, TypeError, RecursionError):
        raise InvalidRequest(
            "The request's body is not JSON that this function can store."
        ) from None


def _loads(raw: bytes) -> Any:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        # orjson refuses lone surrogates, which `clean_json` replaces.
        body = json.loads(raw)
    # JSON that cannot be written again, such as 300 levels of lists, cannot be stored; a stored request adds levels.
    orjson.dumps([[[[[[clean_json(body)]]]]]])
    return body


class StreamedResponse(Response):
    """A response whose parts are sent as they come, until the client disconnects.

    Starlette's StreamingResponse does the same with a task group of anyio, which takes 16 KB more for each open stream,
    and which the first stream of a process has to import.
    """

    def __init__(
        self, parts: AsyncGenerator[bytes, None], media_type: str, headers: Mapping[str, str]
    ) -> None:
        self._parts = parts
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response. A disconnect cancels whatever the parts wait for."""
        writer = cast("asyncio.Task[None]", asyncio.current_task())
        watcher = asyncio.ensure_future(_wait_for_disconnect(receive))
        is_writing, is_stopped = True, False

        def stop(_: object) -> None:
            nonlocal is_stopped
            if is_writing:
                is_stopped = writer.cancel()

        watcher.add_done_callback(stop)
        try:
            async with aclosing(self._parts):
                await self._send_parts(send)
        except asyncio.CancelledError:
            # Another cancellation, such as that at the end of the grace, is not ours to keep.
            if not is_stopped or writer.uncancel():
                raise
        finally:
            is_writing = False
            watcher.cancel()

    async def _send_parts(self, send: Send) -> None:
        head = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **head})
        async for part in self._parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def event_stream(frames: AsyncGenerator[bytes, None], request: Request) -> Response:
    """A response of server-sent events (WHATWG HTML §9.2) that no proxy buffers."""
    headers = {
        "cache-control": "no-cache, no-transform",
        "x-accel-buffering": "no",
        "x-request-id": request.scope.get("request_id", ""),
    }
    return StreamedResponse(frames, "text/event-stream", headers)
