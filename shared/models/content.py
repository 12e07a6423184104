"""What models can be shown of an item's content, whichever API takes it there."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from shared.core import Json


class Image(NamedTuple):
    """An image by its address, which may be a `data:` URL."""

    url: str


def visible_parts(content: Any) -> list[str | Image]:
    """The parts of a content: texts and images. What a model cannot be shown becomes a text that names its type."""
    return [content] if isinstance(content, str) else [_part(part) for part in content or ()]


def text_of(content: Any) -> str:
    """The texts of a content, without its images."""
    return "\n".join(part for part in visible_parts(content) if isinstance(part, str))


def context_text(context: Sequence[Json]) -> str:
    """The app's facts, as the user's first message."""
    lines = [f"{entry.get('description', '')}: {entry.get('value', '')}" for entry in context]
    return "\n".join(["The app gives this context:", *lines])


def _part(part: Json) -> str | Image:
    if part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if part.get("type") == "image" and (url := _url(part.get("source"))):
        return Image(url)
    return f"[a {part.get('type', 'part')!s} that cannot be shown here]"


def _url(source: Any) -> str | None:
    match source:
        case {"type": "url", "value": str(url)}:
            return url
        case {"type": "data", "value": str(data), "mimeType": str(kind)}:
            return f"data:{kind};base64,{data}"
    return None
