"""What a model reads of a content: texts and files. No text is empty, because servers refuse empty ones."""

from collections.abc import Sequence
from typing import Any, Final

from shared.core import Json
from shared.models.media import Media, media_of

#: A message of the user without a text or a file.
EMPTY_MESSAGE: Final = "[This message is empty.]"
_EMPTY_RESULT: Final = "The call returned nothing."


Part = str | Media


def visible_parts(content: Any) -> list[Part]:
    """The parts of a content as texts and files, without blank texts.

    A document of plain text becomes text. Any other part becomes a text that names its type.
    """
    parts = [content] if isinstance(content, str) else map(_part, content or ())
    return [part for part in parts if isinstance(part, Media) or part.strip()]


def text_of(content: Any) -> str:
    """The texts of a content. A file becomes a text too: the results of tools are texts in these APIs."""
    parts = visible_parts(content)
    return "\n".join(hidden(part.kind) if isinstance(part, Media) else part for part in parts)


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


def hidden(kind: object) -> str:
    """What a model reads in place of a part of this type."""
    return f"[a {kind!s} that cannot be shown here]"


def _part(part: Json) -> Part:
    if part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    media = media_of(part)
    if media is None:
        return hidden(part.get("type", "part"))
    text = media.plain_text
    return media if text is None else text
