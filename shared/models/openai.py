"""The model: the `openai` client, Chat Completions, streamed.

The SDK's typed stream costs 185 ms of CPU per 1,000 text events; its raw response over aiohttp, split and parsed in
`completions.py`, 34 (docs/decisions.md). The SDK is imported in a thread once the server is up: a cold start does not
wait for it, and on Knative the first request arrives after it is done.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, Protocol, Self

from shared.core import Json, ModelCall, Once, Settings, model_call
from shared.models.completions import Finish, ModelFailed, Part, Reader

#: Compressed frames would wait for each other.
_AS_IS: Final = {"accept-encoding": "identity"}
_LOOK_SECONDS: Final = 0.05
#: Connections beside those of live runs: of runs that end.
_SPARE: Final = 50
_CONNECT_SECONDS: Final = 10.0


class Model(Protocol):
    def stream(
        self, messages: Sequence[Json], tools: Sequence[Json]
    ) -> AsyncGenerator[list[Part], None]:
        """One turn, as it is written, in batches of what came at once: the last part is its Finish.

        Raises:
            ModelFailed: it broke off, or never began.
        """
        ...


class OpenAIModel:
    """Any server with OpenAI's Chat Completions; one client, and so one TLS context, per process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None
        #: The SDK, imported and its client made off the event loop: certificates are read from files.
        self._load: Once[Any] = Once(lambda: asyncio.to_thread(self._import))
        #: What the SDK lets through when a raw response breaks off: its HTTP library's own error.
        self._transport_error: type[Exception] = OSError
        self._response: Any = None

    async def warm(self) -> None:
        """Import the SDK and make its client before somebody needs them."""
        await self._load()

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def stream(
        self, messages: Sequence[Json], tools: Sequence[Json]
    ) -> AsyncGenerator[list[Part], None]:
        sdk, settings = await self._load(), self._settings
        observed = model_call(settings.openai_model, settings.openai_base_url)
        with observed as call, self._translated(sdk):
            async with (
                asyncio.timeout(settings.model_turn_seconds) as timer,
                self._asked(sdk, messages, tools) as chunks,
            ):
                reader, silence = Reader(), _Silence(timer, settings.model_silence_seconds)
                with silence:
                    async for chunk in chunks:
                        silence.heard()
                        if parts := reader.feed(chunk):
                            if not call.is_heard:
                                call.hear()
                            yield parts
                        if reader.is_over:
                            break
                        silence.wait()
                yield _finished(reader, call)
                await self._drain(chunks)

    @asynccontextmanager
    async def _asked(
        self, sdk: Any, messages: Sequence[Json], tools: Sequence[Json]
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The answer's bytes, as the socket brings them: three layers of the HTTP library's less than its own text.

        By the SDK's door for any address: its typed one checks each message against types, 4 ms where this is 0.9.
        """
        body = {
            "model": self._settings.openai_model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            **({"tools": tools} if tools else {}),
        }
        response = await self._client.post(
            "/chat/completions",
            cast_to=self._response,
            body=body,
            options={"headers": _AS_IS},
            stream=True,
            stream_cls=sdk.AsyncStream[Any],
        )
        try:
            is_packed = "content-encoding" in response.headers
            yield response.aiter_bytes() if is_packed else response.stream
        finally:
            await response.aclose()

    async def _drain(self, chunks: AsyncIterator[bytes]) -> None:
        """Read to the end, which is here already: a connection with something unread is closed, and TLS costs anew.

        The answer is whole by now, so that one that breaks instead has lost nothing.
        """
        with suppress(TimeoutError, OSError, self._transport_error):
            async with asyncio.timeout(_LOOK_SECONDS):
                async for _ in chunks:
                    pass

    @contextmanager
    def _translated(self, sdk: Any) -> Iterator[None]:
        """What the SDK, its HTTP library and the clock raise, as ModelFailed: nothing of what the provider said."""
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

    def _import(self) -> Any:
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
        return openai


def _finished(reader: Reader, call: ModelCall) -> list[Part]:
    parts = reader.finish()
    if isinstance(finish := parts[-1], Finish):
        call.finish(finish.reason, finish.usage)
    return parts


class _Silence:
    """Ends a turn in which nothing is heard for too long, or that takes too long in all: one timer a turn.

    It counts only while a chunk is waited for: to cancel whoever works on one would be outside of where it is caught.
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
        self._look()
        return self

    def wait(self) -> None:
        """A chunk is waited for."""
        self._waits_since = self._loop.time()

    def heard(self) -> None:
        """One came, and is worked on."""
        self._waits_since = None
        if self._timer.when() is not None:
            # It came when the end was already on its way.
            self._timer.reschedule(None)
            self._next = self._loop.call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        since = now if self._waits_since is None else self._waits_since
        ends_at = min(since + self._seconds, self._deadline)
        if self._waits_since is not None and now >= ends_at:
            self._timer.reschedule(now)
        else:
            self._next = self._loop.call_at(max(ends_at, now + _LOOK_SECONDS), self._look)

    def __exit__(self, *_: object) -> None:
        self._next.cancel()
