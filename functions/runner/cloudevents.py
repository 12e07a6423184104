"""Reads CloudEvents 1.0.2 over HTTP in binary and structured mode, as a trigger sends them. Pure."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import orjson

from shared.core import InvalidEvent, Json, UnsupportedMediaType

_REQUIRED_ATTRIBUTES = ("id", "source", "specversion", "type")


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """An event: source and id together are unique. `data` is JSON, or None."""

    id: str
    source: str
    type: str
    data: Any


def read_event(headers: Mapping[str, str], body: bytes) -> CloudEvent:
    """Read an event from a request; header names in lower case.

    Raises:
        InvalidEvent: an attribute is missing, or the data is not JSON.
        UnsupportedMediaType: a batch, or an event in another format.
    """
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/cloudevents+json":
        return _structured_event(body)
    if media_type.startswith("application/cloudevents"):
        raise UnsupportedMediaType
    attributes = {name: unquote(headers.get(f"ce-{name}", "")) for name in _REQUIRED_ATTRIBUTES}
    # The binding's JSON types: application/json, and what ends in +json.
    is_json = not media_type or media_type.endswith(("/json", "+json"))
    return _event(attributes, _json(body) if is_json and body else None)


def _structured_event(body: bytes) -> CloudEvent:
    envelope = _json(body)
    if not isinstance(envelope, dict):
        raise InvalidEvent
    if "data_base64" not in envelope:
        return _event(envelope, envelope.get("data"))
    try:
        return _event(envelope, _json(base64.b64decode(envelope["data_base64"], validate=True)))
    except (binascii.Error, TypeError, ValueError):
        raise InvalidEvent from None


def _event(attributes: Json, data: Any) -> CloudEvent:
    if not all(
        isinstance(attributes.get(name), str) and attributes[name] for name in _REQUIRED_ATTRIBUTES
    ):
        raise InvalidEvent(
            f"A CloudEvent has {', '.join(_REQUIRED_ATTRIBUTES)}, none of them empty."
        )
    if attributes["specversion"] != "1.0":
        raise InvalidEvent("Events are of specversion 1.0.")
    return CloudEvent(attributes["id"], attributes["source"], attributes["type"], data)


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise InvalidEvent("The event's data is not JSON.") from None
