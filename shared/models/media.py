"""Files in a message: what AG-UI's parts have that is no text."""

from base64 import b64decode
from typing import Any, Final, NamedTuple

from shared.core import Json

_TEXTS: Final = ("application/json", "application/xml", "application/yaml")
_KINDS: Final = ("image", "audio", "video", "document")


class Media(NamedTuple):
    """A file: an address, or data in base64 (then `url` is empty). `kind`: image, audio, video or document."""

    kind: str
    mime: str
    url: str
    data: str
    name: str

    @property
    def data_url(self) -> str:
        return self.url or f"data:{self.mime};base64,{self.data}"

    @property
    def plain_text(self) -> str | None:
        """The text of a document that is nothing else; None if it is something else, or cannot be read."""
        is_text = self.mime.startswith("text/") or self.mime in _TEXTS
        if self.kind != "document" or not self.data or not is_text:
            return None
        try:
            return f"{self.name}:\n{b64decode(self.data).decode()}"
        except ValueError:
            return None


def media_of(part: Json) -> Media | None:
    """The file of a part of AG-UI, or of a `binary` part of its older versions; None without an address or data."""
    if part.get("type") == "binary":
        mime, url, data = (_str(part.get(name)) for name in ("mimeType", "url", "data"))
        kind = _kind_of(mime)
    else:
        kind, source = _str(part.get("type")), part.get("source")
        if kind not in _KINDS or not isinstance(source, dict):
            return None
        mime, value = _str(source.get("mimeType")), _str(source.get("value"))
        url, data = (value if source.get("type") == name else "" for name in ("url", "data"))
    mime = mime.partition(";")[0].strip().lower()
    if not url and not (data and mime):
        return None
    return Media(kind, mime, url, "" if url else data, _file_name(part, mime))


def name_of(part: Json) -> str:
    """A part's type for people, such as `audio (audio/ogg)`."""
    media = media_of(part)
    kind = _str(part.get("type"))[:40] or "part"
    return f"{kind} ({media.mime[:80]})" if media and media.mime else kind


def _kind_of(mime: str) -> str:
    kind = mime.partition("/")[0].lower()
    return kind if kind in _KINDS else "document"


def _file_name(part: Json, mime: str) -> str:
    metadata = part.get("metadata")
    names = metadata if isinstance(metadata, dict) else {}
    given = _str(part.get("filename")) or _str(names.get("filename")) or _str(names.get("name"))
    subtype = mime.rpartition("/")[2]
    return given or (f"document.{subtype}" if subtype.isalnum() else "document")


def _str(value: Any) -> str:
    return value if isinstance(value, str) else ""
