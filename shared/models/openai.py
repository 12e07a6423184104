"""A model behind one of OpenAI's APIs: one turn as a request, and its response as events."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

from shared.core import ModelCall, Settings, logger, model_call
from shared.models.events import ContextOverflow, ModelEvent, ModelFailed, TurnEnded
from shared.models.faults import failure
from shared.models.history import shortened
from shared.models.http import Response
from shared.models.offers import Offer, offer
from shared.models.providers import Provider, provider_of
from shared.models.requests import ModelRequest
from shared.models.sender import RequestApi, Sender
from shared.models.server import ModelServer, Rejected
from shared.models.silence import SilenceLimit

if TYPE_CHECKING:
    from shared.models.stream import StreamReader
    from shared.models.whole import Reader

_DRAIN_SECONDS: Final = 0.05
#: How long the counts of a complete turn may take: the pause before each read, and all of it.
_PAUSE_SECONDS: Final = 5.0
_REST_SECONDS: Final = 30.0
_MOST_LOGGED: Final = 50


class Api(RequestApi, Protocol):
    """What differs between OpenAI's APIs: the path, the body and the reader."""

    def reader(self) -> "StreamReader":
        """The reader of one response."""
        ...


class OpenAIModel:
    """A server that speaks one of OpenAI's APIs. One per server and process: it keeps the connections."""

    def __init__(self, settings: Settings, provider: Provider | None = None) -> None:
        self._settings = settings
        self._provider = provider or provider_of(settings)
        self._server = ModelServer(self._provider)
        self._reported: set[tuple[str, ...]] = set()

    async def warm(self) -> None:
        """Load what the first request would have to load."""
        _ = self._api
        await self._server.warm()

    async def close(self) -> None:
        """Close the connections."""
        self._server.close()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[ModelEvent], None]:
        """One turn: see `ModelClient`. A request that is longer than the model's context is shortened until it fits."""
        settings = self._settings
        model = request.settings.model or settings.openai_model
        offered = offer(request, request.settings.max_tools or settings.model_max_tools)
        with model_call(model, self._provider.base_url) as call, _translate_errors():
            self._report(offered, model, call)
            async with asyncio.timeout(settings.model_turn_seconds) as timer:
                # One generator: another one around it would cost each token.
                sent, has_started = offered.request, False
                while True:
                    response, sent = await self._open(sent, model)
                    try:
                        reader = self._reader(response)
                        with SilenceLimit(timer, settings.model_silence_seconds) as silence:
                            while not reader.has_ended and (data := await response.read()):
                                silence.stop_waiting()
                                if events := reader.feed(data):
                                    has_started = True
                                    if not call.has_first_chunk:
                                        call.record_first_chunk()
                                    yield offered.restore(events) if offered.own_names else events
                                silence.start_waiting()
                        rest = await _rest_of(response, reader)
                        yield offered.restore([*rest, *_finish(reader, call)])
                        await _drain(response)
                        return
                    except ContextOverflow as error:
                        if has_started:
                            raise
                        sent = _shortened(sent, error)
                    finally:
                        response.close()

    async def _open(self, request: ModelRequest, model: str) -> tuple[Response, ModelRequest]:
        """Send a request, shortened until it fits; returns the response and what was sent."""
        while True:
            try:
                return await self._sender.send(request, model), request
            except ContextOverflow as error:
                request = _shortened(request, error)

    def _report(self, offered: Offer, model: str, call: ModelCall) -> None:
        """Report the tools for which there was no room; each set of them once in the log."""
        if not offered.left_out:
            return
        call.tell({"agent.tools.left_out": len(offered.left_out)})
        if (model, *offered.left_out) not in self._reported:
            self._reported.add((model, *offered.left_out))
            count, names = len(offered.left_out), offered.left_out[:_MOST_LOGGED]
            logger.warning("tools.too_many", extra={"model": model, "count": count, "tools": names})

    def _reader(self, response: Response) -> "Reader":
        from shared.models.whole import reader_of

        return reader_of(response.headers, self._api.reader())

    @cached_property
    def _sender(self) -> Sender:
        return Sender(self._server, self._api)

    @cached_property
    def _api(self) -> Api:
        return _api(self._provider)


def _shortened(request: ModelRequest, error: ContextOverflow) -> ModelRequest:
    """A shorter request after this error, which is raised if there is none."""
    shorter = shortened(request)
    if shorter is None:
        raise error
    logger.warning("model.context_overflow", extra={"tokens": shorter.context_tokens})
    return shorter


async def _rest_of(response: Response, reader: "Reader") -> list[ModelEvent]:
    """What follows the end of a turn, usually its usage. The turn is complete, even if the server breaks off now."""
    events: list[ModelEvent] = []
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(_REST_SECONDS):
            while reader.has_ended and not reader.is_over:
                async with asyncio.timeout(_PAUSE_SECONDS):
                    data = await response.read()
                if not data:
                    break
                events += reader.feed(data)
    return events


async def _drain(response: Response) -> None:
    """Read the response to its end, which has usually arrived, so that the connection can be reused.

    A connection with unread bytes would be closed, and the next request would need a new TLS handshake. The turn is
    complete by now, so nothing is lost if the connection breaks here.
    """
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while await response.read():
                pass


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Convert errors of the server, its connection and the clock into ModelFailed, without the provider's text."""
    try:
        yield
    except TimeoutError:
        raise ModelFailed("model_timeout", "The model took too long.", retryable=True) from None
    except Rejected as error:
        raise failure("model_rejected", str(error), error.fault) from error
    except OSError as error:
        message = "The model's API cannot be reached, or broke off."
        raise ModelFailed("model_unreachable", message, retryable=True) from error


def _api(provider: Provider) -> Api:
    """The adapter of the API that this server speaks. The other adapter is not imported."""
    if provider.api == "responses":
        from shared.models.responses import Responses

        return Responses(provider.base_url)
    from shared.models.chat_completions import ChatCompletions

    return ChatCompletions(provider.base_url)


def _finish(reader: "Reader", call: ModelCall) -> list[ModelEvent]:
    events = reader.finish()
    if isinstance(last := events[-1], TurnEnded):
        call.finish(last.reason, last.usage)
    return events
