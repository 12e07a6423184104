"""The request for a model turn, in no API's own terms, and the interface that streams the response."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, Literal, NamedTuple, Protocol

from shared.core import Item, Json, public_data
from shared.models.events import ModelEvent
from shared.models.media import media_of

_UNREAD: Final[Json] = {"type": "text", "text": "[an image that this model cannot read]"}


class ToolSpecification(NamedTuple):
    """A tool as the model sees it. `parameters` is the JSON Schema of its arguments.

    `priority`: if there are more tools than the model takes, those with the lowest are offered.
    """

    name: str
    description: str
    parameters: Json
    priority: int = 0


class NamedTool(NamedTuple):
    """The choice of one tool, which the model must call."""

    name: str


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """How the model responds. A member that is None is not sent, so that the provider's default applies.

    `model` None: that of `OPENAI_MODEL`. `output_schema` is the JSON Schema of the response's text. `extra_body` has
    more members of the request's body; they replace those of the same name. `tool_choice` and `parallel_tool_calls` are
    sent only with tools, because APIs refuse them otherwise. `max_tools`: how many tools the model takes; None: that of
    `MODEL_MAX_TOOLS`.
    """

    model: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    reasoning_effort: str | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    max_output_tokens: int | None = None
    parallel_tool_calls: bool | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    output_schema: Json | None = None
    extra_body: Json | None = None
    max_tools: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelRequest:
    """The request for one turn. `items` is the thread; the adapters send what fits into `context_tokens` of it.

    `context` {description, value} are the app's facts for this run. `cache_key` is the same for all requests that
    begin alike, and says nothing about their user.
    """

    items: Sequence[Item]
    instructions: str
    context: Sequence[Json] = ()
    tools: Sequence[ToolSpecification] = ()
    settings: ModelSettings = ModelSettings()
    context_tokens: int = 128_000
    cache_key: str | None = None


class ModelClient(Protocol):
    """Requests turns from a model."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[Sequence[ModelEvent], None]:
        """One turn, in batches of the events that arrived together; the last event is its TurnEnded.

        Raises:
            ModelFailed: the model did not answer, or broke off.
        """
        ...


def has_provider_data(request: ModelRequest) -> bool:
    """Whether an item of the request has ids or data of its provider."""
    return any("provider" in item.data for item in request.items)


def without_provider_data(request: ModelRequest) -> ModelRequest:
    """The request without the ids and data of providers."""
    items = [replace(item, data=public_data(item.data)) for item in request.items]
    return replace(request, items=items)


def has_images(request: ModelRequest) -> bool:
    """Whether a message of the request has an image."""
    return any(map(_is_image, chain.from_iterable(map(_parts, request.items))))


def without_images(request: ModelRequest) -> ModelRequest:
    """The request with a text instead of each image."""
    return replace(request, items=[_without_images(item) for item in request.items])


def _without_images(item: Item) -> Item:
    if not any(map(_is_image, _parts(item))):
        return item
    content = [_UNREAD if _is_image(part) else part for part in _parts(item)]
    return replace(item, data={**item.data, "content": content})


def _parts(item: Item) -> Sequence[Json]:
    content = item.data.get("content")
    return content if isinstance(content, list) else ()


def _is_image(part: Json) -> bool:
    media = media_of(part)
    return media is not None and media.kind == "image"
