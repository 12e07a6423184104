"""Sends requests to a model's server with the `openai` SDK, and reads the raw responses. It serves both APIs.

The SDK's typed stream costs 185 ms of CPU per 1,000 text events. Its raw response over aiohttp, which a `StreamReader`
splits and parses, costs 34 (docs/decisions.md). A thread imports the SDK and the API's adapter once the server listens,
so a cold start does not wait for them. On Knative they are imported before the first request arrives.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from shared.core import Json, ModelCall, Once, Settings, logger, model_call
from shared.models.events import ModelEvent, ModelFailed, TurnEnded
from shared.models.providers import Provider, provider_of
from shared.models.requests import ModelRequest, has_provider_data, without_provider_data

if TYPE_CHECKING:
    # Imported with the adapter, after the process is ready.
    from shared.models.stream import StreamReader

#: Compressed frames would wait for each other.
_NO_COMPRESSION: Final = {"accept-encoding": "identity"}
_DRAIN_SECONDS: Final = 0.05
_CHECK_SECONDS: Final = 0.05
#: Connections beyond those of live runs: for runs that are ending.
_SPARE_CONNECTIONS: Final = 50
_CONNECT_SECONDS: Final = 10.0


class Api(Protocol):
    """What differs between OpenAI's APIs: the path, the body and the reader."""

    @property
    def path(self) -> str: ...

    def body(self, request: ModelRequest, model: str) -> Json:
        """The body of the POST to `path`."""
        ...

    def reader(self) -> "StreamReader":
        """The reader of one response."""
        ...


class OpenAIModel:
    """A server that speaks one of OpenAI's APIs. One client, and so one TLS context, per server and process."""

    def __init__(self, settings: Settings, provider: Provider | None = None) -> None:
        self._settings = settings
        self._provider = provider or provider_of(settings)
        self._client: Any = None
        #: Imports the SDK and makes its client in a thread, because the client reads certificates from files.
        self._load: Once[tuple[Any, Api]] = Once(lambda: asyncio.to_thread(self._import))
        #: The HTTP library's own error, which the SDK does not convert when a raw response breaks off.
        self._transport_error: type[Exception] = OSError
        self._response_class: Any = None

    async def warm(self) -> None:
        """Import the SDK and make its client before the first request needs them."""
        await self._load()

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[ModelEvent], None]:
        """One turn: see `ModelClient`."""
        (sdk, api), settings = await self._load(), self._settings
        model = request.settings.model or settings.openai_model
        span = model_call(model, self._provider.base_url)
        with span as call, self._translate_errors(sdk):
            async with (
                asyncio.timeout(settings.model_turn_seconds) as timer,
                self._post(sdk, api, request, model) as chunks,
            ):
                reader, silence = api.reader(), SilenceLimit(timer, settings.model_silence_seconds)
                with silence:
                    async for chunk in chunks:
                        silence.stop_waiting()
                        if events := reader.feed(chunk):
                            if not call.has_first_chunk:
                                call.record_first_chunk()
                            yield events
                        if reader.is_over:
                            break
                        silence.start_waiting()
                yield _finish(reader, call)
                await self._drain(chunks)

    @asynccontextmanager
    async def _post(
        self, sdk: Any, api: Api, request: ModelRequest, model: str
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The raw bytes of the response as they arrive, because the HTTP library's text decoding adds three layers.

        If the provider rejects its own data of earlier turns, the request is sent again without that data. After a
        change of keys, a provider cannot decrypt its old reasoning, and would reject every later turn of the thread.
        """
        try:
            response = await self._send(sdk, api.path, api.body(request, model))
        except sdk.BadRequestError:
            if not has_provider_data(request):
                raise
            logger.warning("model.provider_data_refused")
            response = await self._send(
                sdk, api.path, api.body(without_provider_data(request), model)
            )
        try:
            is_compressed = "content-encoding" in response.headers
            yield response.aiter_bytes() if is_compressed else response.stream
        finally:
            await response.aclose()

    async def _send(self, sdk: Any, path: str, body: Json) -> Any:
        """POST with the SDK's generic method: 0.9 ms. The typed method takes 4 ms, since it checks each message."""
        return await self._client.post(
            path,
            cast_to=self._response_class,
            body=body,
            options={"headers": _NO_COMPRESSION},
            stream=True,
            stream_cls=sdk.AsyncStream[Any],
        )

    async def _drain(self, chunks: AsyncIterator[bytes]) -> None:
        """Read the response to its end, which has usually arrived, so that the connection can be reused.

        A connection with unread bytes would be closed, and the next request would need a new TLS handshake. The turn is
        complete by now, so nothing is lost if the connection breaks here.
        """
        with suppress(TimeoutError, OSError, self._transport_error):
            async with asyncio.timeout(_DRAIN_SECONDS):
                async for _ in chunks:
                    pass

    @contextmanager
    def _translate_errors(self, sdk: Any) -> Iterator[None]:
        """Convert errors of the SDK, its HTTP library and the clock into ModelFailed, without the provider's text."""
        try:
            yield
        except TimeoutError:
            raise ModelFailed("model_timeout", "The model took too long.", retryable=True) from None
        except sdk.APIStatusError as error:
            status = error.status_code
            retryable = status in (408, 409, 429) or status >= 500
            message = f"The model's API answered {status}."
            raise ModelFailed("model_rejected", message, retryable=retryable) from error
        except (sdk.APIError, self._transport_error, OSError) as error:
            message = "The model's API broke off."
            raise ModelFailed("model_unreachable", message, retryable=True) from error

    def _import(self) -> tuple[Any, Api]:
        import httpx2
        import openai

        self._transport_error, self._response_class = httpx2.TransportError, httpx2.Response
        # One connection for each run of this process; the SDK's own limit is 1,000.
        max_connections = self._settings.max_live_runs + _SPARE_CONNECTIONS
        limits = httpx2.Limits(max_connections=max_connections, max_keepalive_connections=100)
        self._client = openai.AsyncOpenAI(
            api_key=self._provider.api_key or "none",
            base_url=self._provider.base_url or None,
            max_retries=2,
            # This module times the turn and its silences: the HTTP library would set a timer for each read.
            timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
            http_client=openai.DefaultAioHttpClient(limits=limits),
        )
        return openai, _api(self._provider)


def _api(provider: Provider) -> Api:
    """The adapter of the API that this server speaks. The other adapter is not imported."""
    if provider.api == "responses":
        from shared.models.responses import Responses

        return Responses(provider.base_url)
    from shared.models.chat_completions import ChatCompletions

    return ChatCompletions()


def _finish(reader: "StreamReader", call: ModelCall) -> list[ModelEvent]:
    events = reader.finish()
    if isinstance(last := events[-1], TurnEnded):
        call.finish(last.reason, last.usage)
    return events


class SilenceLimit:
    """Ends a turn that is silent for too long or takes too long in all.

    Only while the caller waits for a chunk may the time-out fire, because elsewhere it would not be converted to
    ModelFailed. One timer checks both limits.
    """

    def __init__(self, timer: asyncio.Timeout, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer = timer
        self._seconds = seconds
        self._deadline = timer.when() or 0.0
        self._waits_since: float | None = None
        self._next: asyncio.TimerHandle | None = None
        timer.reschedule(None)

    def __enter__(self) -> Self:
        self.start_waiting()
        self._check()
        return self

    def start_waiting(self) -> None:
        """Count silence from now on, while the caller waits for a chunk."""
        self._waits_since = self._loop.time()

    def stop_waiting(self) -> None:
        """Stop counting silence: a chunk has arrived."""
        self._waits_since = None
        if self._timer.when() is not None:
            # The chunk arrived after the time-out was scheduled.
            self._timer.reschedule(None)
            self._next = self._loop.call_later(_CHECK_SECONDS, self._check)

    def _check(self) -> None:
        now = self._loop.time()
        since = now if self._waits_since is None else self._waits_since
        ends_at = min(since + self._seconds, self._deadline)
        if self._waits_since is not None and now >= ends_at:
            self._timer.reschedule(now)
        else:
            self._next = self._loop.call_at(max(ends_at, now + _CHECK_SECONDS), self._check)

    def __exit__(self, *_: object) -> None:
        if self._next:
            self._next.cancel()
