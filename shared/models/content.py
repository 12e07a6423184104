"""What a model reads of a content: texts and images. No text is empty, because servers refuse empty ones."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from shared.core import Json

#: A message of the user without a text or an image.
EMPTY_MESSAGE: Final = "[This message is empty.]"
_EMPTY_RESULT: Final = "The call returned nothing."


class Image(NamedTuple):
    """An image by its address, which may be a `data:` URL."""

    url: str


Part = str | Image


def visible_parts(content: Any) -> list[Part]:
    """The parts of a content as texts and images, without blank texts.

    Any other part becomes a text that names its type.
    """
    parts = [content] if isinstance(content, str) else map(_part, content or ())
    return [part for part in parts if isinstance(part, Image) or part.strip()]


def text_of(content: Any) -> str:
    """The texts of a content. An image becomes a text too: the results of tools are texts in these APIs."""
    parts = visible_parts(content)
    return "\n".join(_named("image") if isinstance(part, Image) else part for part in parts)


def result_text(result: Json) -> str:
    """What a model reads of a call's result: its content, and the error that a frontend reports."""
    error = result.get("error")
    failure = f"Error: {error}" if isinstance(error, str) and error.strip() else ""
    texts = [text for text in (failure, text_of(result.get("content"))) if text]
    return "\n".join(texts) or _EMPTY_RESULT


def context_text(context: Sequence[Json]) -> str:
    """The app's facts, as a part of a user's message."""
    lines = [f"{entry.get('description', '')}: {entry.get('value', '')}" for entry in context]
    return "\n".join(["The app gives this context:", *lines])


def _part(part: Json) -> Part:
    if part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if part.get("type") == "image" and (url := _url(part.get("source"))):
        return Image(url)
    return _named(part.get("type", "part"))


def _named(kind: object) -> str:
    return f"[a {kind!s} that cannot be shown here]"


def _url(source: Any) -> str | None:
    match source:
        case {"type": "url", "value": str(url)}:
            return url
        case {"type": "data", "value": str(data), "mimeType": str(kind)}:
            return f"data:{kind};base64,{data}"
    return None
