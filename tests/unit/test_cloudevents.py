"""CloudEvents 1.0.2 over HTTP, as Knative's Broker sends them."""

import base64
import json

import pytest

from functions.runner.cloudevents import CloudEvent, read_event
from shared.core.errors import InvalidEvent, UnsupportedMediaType

ATTRIBUTES = {"id": "1", "source": "/test", "specversion": "1.0", "type": "agent.run.waiting"}
EVENT = CloudEvent("1", "/test", "agent.run.waiting", {"run_id": "x"})


def binary(**changed: str) -> dict[str, str]:
    headers = {f"ce-{name}": value for name, value in {**ATTRIBUTES, **changed}.items()}
    return {**headers, "content-type": "application/json"}


def structured(**more: object) -> bytes:
    return json.dumps({**ATTRIBUTES, **more}).encode()


STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}


def test_both_modes_read_the_same_event() -> None:
    encoded = base64.b64encode(b'{"run_id": "x"}').decode()

    assert read_event(binary(), b'{"run_id": "x"}') == EVENT
    assert read_event(STRUCTURED, structured(data={"run_id": "x"})) == EVENT
    assert read_event(STRUCTURED, structured(data_base64=encoded)) == EVENT


def test_header_values_are_percent_decoded() -> None:
    assert read_event(binary(source="/caf%C3%A9%20%22x%22"), b"{}").source == '/café "x"'


def test_an_event_without_data_is_an_event() -> None:
    assert read_event(binary(), b"").data is None
    assert read_event({**binary(), "content-type": "text/plain"}, b"hello").data is None


@pytest.mark.parametrize("name", list(ATTRIBUTES))
def test_a_required_attribute_that_is_missing_or_empty_is_refused(name: str) -> None:
    for value in ("", None, 7):
        with pytest.raises(InvalidEvent):
            read_event(STRUCTURED, structured(**{name: value}))
    with pytest.raises(InvalidEvent):
        read_event(binary(**{name: ""}), b"{}")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (binary(specversion="0.3"), b"{}"),
        (binary(), b"{"),
        (STRUCTURED, b"[]"),
        (STRUCTURED, structured(data_base64="%%%")),
        (STRUCTURED, structured(data_base64=7)),
        ({}, b"{}"),
    ],
)
def test_a_request_that_is_not_an_event_is_refused(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(InvalidEvent):
        read_event(headers, body)


def test_batches_and_other_formats_are_unsupported() -> None:
    for kind in ("application/cloudevents-batch+json", "application/cloudevents+avro"):
        with pytest.raises(UnsupportedMediaType):
            read_event({"content-type": kind}, b"[]")
