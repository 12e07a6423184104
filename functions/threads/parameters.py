"""The parameters of requests: ids, cursors, entity tags."""

import re
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Depends, Header, Path, Query, Response

from functions.threads.shapes import Cursor
from functions.threads.threads import Threads
from shared.core import CLIENT_ID_PATTERN, InvalidRequest, Json, clean_json
from shared.http import services_of

#: An entity tag (RFC 9110 §8.8.3).
_ETAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
#: Responses belong to one user, and caches must revalidate them.
PRIVATE: Final = {"cache-control": "private, no-cache"}


async def _is_private(response: Response) -> None:
    response.headers.update(PRIVATE)


def private_router() -> APIRouter:
    """Routes whose answers no shared cache may keep."""
    return APIRouter(dependencies=[Depends(_is_private)])


Store = Annotated[Threads, Depends(services_of(Threads))]
ThreadId = Annotated[str, Path(pattern=CLIENT_ID_PATTERN, max_length=128)]
RunId = Annotated[str, Path(pattern=CLIENT_ID_PATTERN, max_length=128)]
After = Annotated[Cursor | None, Query(max_length=512)]
Tags = Annotated[str | None, Header(max_length=1000)]


def tags_of(if_match: str | None) -> list[str] | None:
    """The entity tags of If-Match, compared strongly (RFC 9110 §13.1.1): None for any."""
    if if_match is None or if_match.strip() == "*":
        return None
    return [tag for weak, tag in _ETAG.findall(if_match) if not weak]


def names(if_none_match: str | None, etag: str) -> bool:
    """Whether If-None-Match has this tag, compared weakly (RFC 9110 §13.1.2)."""
    header = if_none_match or ""
    return header.strip() == "*" or etag in [tag for _, tag in _ETAG.findall(header)]


def read_object(text: str) -> Json:
    """The JSON object in a query parameter.

    Raises:
        InvalidRequest: it is none.
    """
    try:
        value = clean_json(orjson.loads(text))
        orjson.dumps(value)
    except (ValueError, TypeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidRequest("`metadata` is not a JSON object.")
    return value
