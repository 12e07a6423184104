"""Bodies in, server-sent events out."""

import json
from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar

import orjson
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.responses import StreamingResponse

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


def event_stream(frames: AsyncIterator[bytes], request: Request) -> StreamingResponse:
    """A response of server-sent events (WHATWG HTML §9.2) that no proxy buffers."""
    headers = {
        "cache-control": "no-cache, no-transform",
        "x-accel-buffering": "no",
        "x-request-id": request.scope.get("request_id", ""),
    }
    return StreamingResponse(frames, media_type="text/event-stream", headers=headers)
