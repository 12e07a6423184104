"""The exchange with a model's server: the `openai` client's raw door, its time-outs and its errors, for either API.

The SDK's typed stream costs 185 ms of CPU per 1,000 text events; its raw response over aiohttp, split and parsed by a
`StreamReader`, 34 (docs/decisions.md). The SDK and the API's adapter are imported in a thread once the server is up: a
cold start does not wait for them, and on Knative the first request arrives after they are there.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from shared.core import Json, ModelCall, Once, Settings, logger, model_call
from shared.models.events import ModelEvent, ModelFailed, TurnEnded
from shared.models.requests import ModelRequest, has_provider_data, without_provider_data

if TYPE_CHECKING:
    # Imported with the adapter, after the process is ready.
    from shared.models.stream import StreamReader

#: Compressed frames would wait for each other.
_UNCOMPRESSED: Final = {"accept-encoding": "identity"}
_DRAIN_SECONDS: Final = 0.05
_CHECK_SECONDS: Final = 0.05
#: Connections beside those of live runs: of runs that end.
_SPARE: Final = 50
_CONNECT_SECONDS: Final = 10.0


class Api(Protocol):
    """What one of OpenAI's APIs has of its own."""

    @property
    def path(self) -> str: ...

    def body(self, request: ModelRequest, model: str) -> Json:
        """The body of the POST to `path`."""
        ...

    def reader(self) -> "StreamReader":
        """The reader of one answer."""
        ...


class OpenAIModel:
    """A server with the API of `OPENAI_API`. One client, and so one TLS context, per process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None
        #: The SDK, imported and its client made off the event loop: certificates are read from files.
        self._load: Once[tuple[Any, Api]] = Once(lambda: asyncio.to_thread(self._import))
        #: What the SDK lets through when a raw response breaks off: its HTTP library's own error.
        self._transport_error: type[Exception] = OSError
        self._response: Any = None

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
        observed = model_call(model, settings.openai_base_url)
        with observed as call, self._translated(sdk):
            async with (
                asyncio.timeout(settings.model_turn_seconds) as timer,
                self._post(sdk, api, request, model) as chunks,
            ):
                reader, silence = api.reader(), SilenceLimit(timer, settings.model_silence_seconds)
                with silence:
                    async for chunk in chunks:
                        silence.heard()
                        if events := reader.feed(chunk):
                            if not call.is_heard:
                                call.hear()
                            yield events
                        if reader.is_over:
                            break
                        silence.wait()
                yield _finished(reader, call)
                await self._drain(chunks)

    @asynccontextmanager
    async def _post(
        self, sdk: Any, api: Api, request: ModelRequest, model: str
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The answer's bytes, as the socket brings them: three layers of the HTTP library's less than its own text.

        A provider that refuses its own data of earlier turns gets the request without it: after a change of keys, it
        can no longer decrypt its reasoning, and would refuse every later turn of the thread.
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
            is_packed = "content-encoding" in response.headers
            yield response.aiter_bytes() if is_packed else response.stream
        finally:
            await response.aclose()

    async def _send(self, sdk: Any, path: str, body: Json) -> Any:
        """POST by the SDK's generic method: its typed one checks each message's type, 4 ms where this takes 0.9."""
        return await self._client.post(
            path,
            cast_to=self._response,
            body=body,
            options={"headers": _UNCOMPRESSED},
            stream=True,
            stream_cls=sdk.AsyncStream[Any],
        )

    async def _drain(self, chunks: AsyncIterator[bytes]) -> None:
        """Read to the end, which has arrived already: a connection with unread bytes is closed, and TLS costs anew.

        The turn is complete by now, so that a connection that breaks here has lost nothing.
        """
        with suppress(TimeoutError, OSError, self._transport_error):
            async with asyncio.timeout(_DRAIN_SECONDS):
                async for _ in chunks:
                    pass

    @contextmanager
    def _translated(self, sdk: Any) -> Iterator[None]:
        """Raise what the SDK, its HTTP library and the clock raise as ModelFailed, without the provider's own words."""
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

        self._transport_error, self._response = httpx2.TransportError, httpx2.Response
        # As many streams at once as this process takes runs; the SDK's own limit is 1,000.
        most = self._settings.max_live_runs + _SPARE
        limits = httpx2.Limits(max_connections=most, max_keepalive_connections=100)
        self._client = openai.AsyncOpenAI(
            api_key=self._settings.openai_api_key or "none",
            base_url=self._settings.openai_base_url or None,
            max_retries=2,
            # The turn and its silences are timed here: a timer of the HTTP library's would be set with each read.
            timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
            http_client=openai.DefaultAioHttpClient(limits=limits),
        )
        return openai, _api(self._settings)


def _api(settings: Settings) -> Api:
    """The adapter of the API that these settings name; the other one is never imported."""
    if settings.openai_api == "responses":
        from shared.models.responses import Responses

        return Responses(settings.openai_base_url)
    from shared.models.chat_completions import ChatCompletions

    return ChatCompletions()


def _finished(reader: "StreamReader", call: ModelCall) -> list[ModelEvent]:
    events = reader.finish()
    if isinstance(ended := events[-1], TurnEnded):
        call.finish(ended.reason, ended.usage)
    return events


class SilenceLimit:
    """Ends a turn in which nothing arrives for too long, or that takes too long in all, with one timer for the turn.

    Only the time in which a chunk is awaited counts: cancelling the code that works on a chunk would raise outside of
    the block that translates the time-out.
    """

    def __init__(self, timer: asyncio.Timeout, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer = timer
        self._seconds = seconds
        self._deadline = timer.when() or 0.0
        self._waits_since: float | None = None
        timer.reschedule(None)

    def __enter__(self) -> Self:
        self.wait()
        self._check()
        return self

    def wait(self) -> None:
        """A chunk is awaited from here on."""
        self._waits_since = self._loop.time()

    def heard(self) -> None:
        """A chunk arrived, and is worked on."""
        self._waits_since = None
        if self._timer.when() is not None:
            # It arrived when the time-out was already scheduled.
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
        self._next.cancel()
