"""The parts of a user's message as OpenAI's APIs take them: texts, images, audio and documents.

Chat Completions takes audio (wav, mp3) and PDF, both as data; Responses takes no audio, but most documents, also by
their address (developers.openai.com/api/docs/guides/file-inputs). A document of plain text is sent as text, which every
server takes.
"""

from collections.abc import Iterable
from typing import Any, Final

from shared.core import Json
from shared.models.content import Part, hidden
from shared.models.media import Media, media_of, name_of
from shared.models.providers import ApiName

_PDF: Final = "application/pdf"
_AUDIO_FORMATS: Final = {
    **dict.fromkeys(("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"), "wav"),
    **dict.fromkeys(("audio/mpeg", "audio/mp3"), "mp3"),
}
_TEXT_TYPES: Final = {"chat_completions": "text", "responses": "input_text"}


def user_parts(parts: Iterable[Part], api: ApiName) -> list[Json]:
    """The parts of a message as this API takes them.

    A file that it cannot take was accepted for another agent, whose API can. A text that names its type replaces it:
    without that, no agent with this API could continue the thread.
    """
    return [_text(part, api) if isinstance(part, str) else _file(part, api) for part in parts]


def refused_parts(content: Any, api: ApiName) -> list[str]:
    """The types of the stored parts that this API cannot take, such as `audio (audio/ogg)`."""
    parts = [] if isinstance(content, str) else content
    return [name_of(part) for part in parts if not _is_taken(part, api)]


def _is_taken(part: Json, api: ApiName) -> bool:
    if part.get("type") == "text":
        return isinstance(part.get("text"), str)
    media = media_of(part)
    return media is not None and (media.plain_text is not None or _media(media, api) is not None)


def _text(text: str, api: ApiName) -> Json:
    return {"type": _TEXT_TYPES[api], "text": text}


def _file(media: Media, api: ApiName) -> Json:
    return _media(media, api) or _text(hidden(media.kind), api)


def _media(media: Media, api: ApiName) -> Json | None:
    return _chat_part(media) if api == "chat_completions" else _responses_part(media)


def _chat_part(media: Media) -> Json | None:
    match media.kind:
        case "image":
            return {"type": "image_url", "image_url": {"url": media.data_url}}
        case "audio" if media.data and (format_ := _AUDIO_FORMATS.get(media.mime)):
            return {"type": "input_audio", "input_audio": {"data": media.data, "format": format_}}
        case "document" if media.data and media.mime == _PDF:
            file = {"filename": media.name, "file_data": media.data_url}
            return {"type": "file", "file": file}
    return None


def _responses_part(media: Media) -> Json | None:
    match media.kind:
        case "image":
            return {"type": "input_image", "image_url": media.data_url, "detail": "auto"}
        case "document" if media.url:
            return {"type": "input_file", "file_url": media.url}
        case "document":
            return {"type": "input_file", "filename": media.name, "file_data": media.data_url}
    return None
