"""Sends turns without what a server has refused: members that we add, its own data of earlier turns, images."""

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from shared.core import Json, logger
from shared.models.faults import overflow
from shared.models.http import Response
from shared.models.requests import (
    ModelRequest,
    has_images,
    has_provider_data,
    without_images,
    without_provider_data,
)
from shared.models.server import ModelServer, Rejected

#: How servers refuse a member that they do not know.
_REFUSALS: Final = frozenset({400, 422})
#: What servers answer to a request that they do not understand. OpenRouter: 404 to an image.
_INVALID: Final = frozenset({400, 404, 415, 422})


class RequestApi(Protocol):
    """What a request needs of an API. `optional`: members that we add to each body, and without which it is valid."""

    @property
    def path(self) -> str: ...

    @property
    def optional(self) -> Sequence[str]: ...

    def body(self, request: ModelRequest, model: str) -> Json:
        """The body of the POST to `path`."""
        ...


class Sender:
    """Sends turns to one server. What a model's server refused is not sent to it again by this process."""

    def __init__(self, server: ModelServer, api: RequestApi) -> None:
        self._server = server
        self._api = api
        self._refused: dict[str, frozenset[str]] = {}

    async def send(self, request: ModelRequest, model: str) -> Response:
        """Send a turn. If the server rejects something that it can do without, send it again without that.

        After a change of keys, a provider cannot decrypt its old reasoning. A router may send a call's id to another
        model than the one that gave it. A model may not read images, or not so large ones. Each of these would reject
        every later turn of the thread.

        Raises:
            ContextOverflow: the request is longer than the model's context.
            Rejected: the server answered with an error.
            OSError: it cannot be reached, or broke off.
        """
        refused, fewer = self._refused.get(model, frozenset()), _alternatives(request)
        while True:
            body = self._body(request, model, refused)
            try:
                response = await self._server.post(self._api.path, body)
            except Rejected as error:
                if error.is_overflow:
                    raise overflow(error.fault) from error
                if named := self._named(error) - refused:
                    members = {"model": model, "members": sorted(named)}
                    logger.warning("model.member_refused", extra=members)
                    refused |= named
                    continue
                alternative = next(fewer, None) if error.status in _INVALID else None
                if alternative is None:
                    raise
                request = alternative
            else:
                self._refused[model] = refused
                return response

    def _body(self, request: ModelRequest, model: str, refused: frozenset[str]) -> Json:
        body = self._api.body(request, model)
        if not refused:
            return body
        chosen = request.settings.extra_body or {}
        return {name: v for name, v in body.items() if name not in refused or name in chosen}

    def _named(self, error: Rejected) -> frozenset[str]:
        """The optional members that a refusal names."""
        if error.status not in _REFUSALS:
            return frozenset()
        return frozenset(name for name in self._api.optional if error.mentions(name))


def _alternatives(request: ModelRequest) -> Iterator[ModelRequest]:
    """The request after a refusal: without the provider's data, and then also without images."""
    if has_provider_data(request):
        logger.warning("model.provider_data_refused")
        request = without_provider_data(request)
        yield request
    if has_images(request):
        logger.warning("model.images_refused")
        yield without_images(request)
