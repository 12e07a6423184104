"""The model: the `openai` client, Chat Completions, streamed.

The SDK's typed stream costs 185 ms of CPU per 1,000 text events; its raw response over aiohttp, split and parsed here,
34 (docs/decisions.md). The SDK is imported in a thread once the server is up: a cold start does not wait for it, and
on Knative the first request arrives after it is done.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import orjson

from shared.contracts import Json, Usage, clean
from shared.settings import Settings

Channel = Literal["text", "reasoning"]


class Text(NamedTuple):
    """A piece of what the model says, or thinks."""

    channel: Channel
    text: str


class CallPart(NamedTuple):
    """A piece of a tool call: `place` tells calls of one turn apart, id and name come with the first piece."""

    place: int
    id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a turn: why, and what it cost."""

    reason: str
    usage: Usage


Part = Text | CallPart | Finish


class ModelFailed(Exception):
    """The model did not answer, or not to the end. `retryable`: asking again may help."""

    def __init__(self, code: str, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable


class Model(Protocol):
    def stream(self, messages: Sequence[Json], tools: Sequence[Json]) -> AsyncGenerator[Part, None]:
        """One turn, as it is written: the last part is its Finish.

        Raises:
            ModelFailed: it broke off, or never began.
        """
        ...


class OpenAIModel:
    """Any server with OpenAI's Chat Completions; one client, and so one TLS context, per process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None
        #: What the SDK lets through when a raw response breaks off: its HTTP library's own error.
        self._transport_error: type[Exception] = OSError
        self._loading: asyncio.Future[Any] | None = None

    async def warm(self) -> None:
        """Import the SDK and make its client, off the event loop."""
        await self._load()

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def stream(
        self, messages: Sequence[Json], tools: Sequence[Json]
    ) -> AsyncGenerator[Part, None]:
        sdk = await self._load()
        seconds = self._settings.model_turn_seconds
        with self._translated(sdk):
            async with (
                asyncio.timeout(seconds) as timer,
                self._client.chat.completions.with_streaming_response.create(
                    model=self._settings.openai_model,
                    messages=list(messages),
                    stream=True,
                    stream_options={"include_usage": True},
                    **({"tools": list(tools)} if tools else {}),
                ) as response,
            ):
                silence = self._settings.model_silence_seconds
                async for part in _parts(_watched(response.iter_bytes(), timer, silence)):
                    yield part

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

    async def _load(self) -> Any:
        """The SDK, imported once; its client is made with it."""
        if self._loading is None:
            self._loading = asyncio.ensure_future(asyncio.to_thread(self._import))
        sdk = await asyncio.shield(self._loading)
        if self._client is None:
            self._client = sdk.AsyncOpenAI(
                api_key=self._settings.openai_api_key or "none",
                base_url=self._settings.openai_base_url or None,
                max_retries=2,
                timeout=self._settings.model_turn_seconds,
                http_client=sdk.DefaultAioHttpClient(),
            )
        return sdk

    def _import(self) -> Any:
        import httpx2
        import openai
        import openai.resources.chat.completions

        self._transport_error = httpx2.TransportError
        return openai


async def _watched(
    chunks: AsyncIterator[bytes], timer: asyncio.Timeout, silence: float
) -> AsyncIterator[bytes]:
    """The chunks; the timer runs while one is waited for, for `silence` seconds and not beyond what it was set to.

    While what came is being worked on it must not run: it would cancel whoever reads, outside of where it is caught.
    """
    now = asyncio.get_running_loop().time
    deadline = timer.when() or 0.0
    timer.reschedule(min(now() + silence, deadline))
    async for chunk in chunks:
        timer.reschedule(None)
        yield chunk
        timer.reschedule(min(now() + silence, deadline))


async def _parts(chunks: AsyncIterator[bytes]) -> AsyncIterator[Part]:
    """Read the server-sent events of one turn (WHATWG's format; the data of this API is always one line)."""
    reason: str | None = None
    usage = Usage()
    async for line in _lines(chunks):
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            break
        chunk = _load_json(data)
        if chunk.get("error"):
            raise ModelFailed("model_failed", "The model reported an error.", retryable=True)
        if counted := chunk.get("usage"):
            usage = _usage(counted, chunk.get("model"))
        for choice in chunk.get("choices") or ():
            for part in _delta(choice.get("delta") or {}):
                yield part
            reason = choice.get("finish_reason") or reason
    if reason is None:
        raise ModelFailed("model_broke_off", "The model broke off in the middle.", retryable=True)
    yield Finish(reason, usage)


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
    if rest:
        yield rest


def _delta(delta: Json) -> list[Part]:
    parts: list[Part] = []
    # Two spellings of one thing: DeepSeek's and vLLM's.
    if thought := delta.get("reasoning_content") or delta.get("reasoning"):
        parts.append(Text("reasoning", clean(thought)))
    if text := delta.get("content"):
        parts.append(Text("text", clean(text)))
    for call in delta.get("tool_calls") or ():
        function = call.get("function") or {}
        parts.append(
            CallPart(
                call.get("index") or 0,
                clean(call.get("id") or "") or None,
                clean(function.get("name") or "") or None,
                clean(function.get("arguments") or ""),
            )
        )
    return parts


def _load_json(data: bytes) -> Json:
    try:
        loaded = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            # Lone surrogates are an error to orjson; `clean` replaces them.
            loaded = json.loads(data)
        except ValueError:
            raise ModelFailed(
                "model_broke_off", "The model sent garbage.", retryable=True
            ) from None
    if not isinstance(loaded, dict):
        raise ModelFailed("model_broke_off", "The model sent garbage.", retryable=True)
    return loaded


def _usage(counted: Json, model: str | None) -> Usage:
    return Usage(
        counted.get("prompt_tokens"),
        counted.get("completion_tokens"),
        (counted.get("prompt_tokens_details") or {}).get("cached_tokens"),
        (counted.get("completion_tokens_details") or {}).get("reasoning_tokens"),
        clean(model or "") or None,
    )
