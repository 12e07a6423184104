"""Sends requests to a model's server, again after failures that usually pass."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from random import uniform
from typing import Any, Final

import orjson

from shared.core import Json
from shared.models.faults import fault_of
from shared.models.http import Connections, Response
from shared.models.overflow import is_overflow
from shared.models.providers import Provider

_OPENAI: Final = "https://api.openai.com/v1"
#: The pauses before a request is repeated, seconds: those of OpenAI's own clients.
_PAUSES: Final = (0.5, 1.0)
#: A server that asks for a longer pause is not waited for.
_LONGEST_PAUSE: Final = 60.0
#: What is read of an error response: bytes, and seconds.
_MOST_OF_AN_ERROR: Final = 1 << 16
_ERROR_SECONDS: Final = 2.0


class Rejected(Exception):
    """The server answered with an error, with this body. `retry_after`: the pause that it asks for, in seconds."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        self.fault = fault_of(_json(body), status)
        super().__init__(f"The model's API answered {self.fault}.")
        self.status = status
        self.retry_after = _retry_after(headers)
        #: Whether the request is longer than the model's context.
        self.is_overflow = is_overflow(status, body)
        #: Whether the same request may succeed later.
        self.may_pass = self.fault.may_pass
        self._body = body

    def mentions(self, member: str) -> bool:
        """Whether the error names a member of the request."""
        return member.encode() in self._body


class ModelServer:
    """The server of a provider."""

    def __init__(self, provider: Provider) -> None:
        self._connections = Connections(provider.base_url or _OPENAI)
        self._headers = {
            "authorization": f"Bearer {provider.api_key or 'none'}",
            "content-type": "application/json",
            "accept": "text/event-stream",
            # Compressed frames would wait for each other.
            "accept-encoding": "identity",
            "user-agent": "agent-functions",
        }
        self.warm = self._connections.warm
        self.close = self._connections.close

    async def post(self, path: str, body: Json) -> Response:
        """The response to a request, when its head has arrived; the caller closes it.

        Raises:
            Rejected: the server answered with an error.
            OSError: it cannot be reached, or broke off.
        """
        data = _encode(body)
        for pause in _PAUSES:
            try:
                return await self._post_once(path, data)
            except Rejected as error:
                if not error.may_pass:
                    raise
                await asyncio.sleep(error.retry_after or _spread(pause))
            except OSError:
                await asyncio.sleep(_spread(pause))
        return await self._post_once(path, data)

    async def _post_once(self, path: str, data: bytes) -> Response:
        response = await self._connections.post(path, self._headers, data)
        if 200 <= response.status < 300:
            return response
        try:
            body = await _error_of(response)
        finally:
            response.close()
        raise Rejected(response.status, response.headers, body)


async def _error_of(response: Response) -> bytes:
    """The start of an error's body, as far as it arrives in time."""
    body = b""
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(_ERROR_SECONDS):
            while len(body) < _MOST_OF_AN_ERROR and (data := await response.read()):
                body += data
    return body


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _spread(seconds: float) -> float:
    # Processes that failed together must not come back together.
    return uniform(0.75, 1.0) * seconds  # noqa: S311  # no secret


def _retry_after(headers: Mapping[str, str]) -> float:
    """The pause that the server asks for, in seconds; 0: it asks for none that we would wait for."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            # A date is rare here.
            continue
        return seconds if 0 < seconds <= _LONGEST_PAUSE else 0.0
    return 0.0


def _encode(body: Json) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:
        # Of what JSON can say, orjson refuses integers beyond 64 bits.
        return json.dumps(body).encode()
