"""Events that the official SDK writes are read as the SDK reads them."""

import json
from datetime import UTC
from typing import Any

from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings import http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as Written
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from functions.runner.cloudevents import CloudEvent, read_event

words = st.text(min_size=1, max_size=20)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=8), values, max_size=4)
extensions = st.dictionaries(st.from_regex("x[a-z0-9]{0,19}", fullmatch=True), words, max_size=3)
optional = st.fixed_dictionaries(
    {},
    optional={
        "subject": words,
        "dataschema": words,
        "time": st.datetimes(timezones=st.just(UTC)),
        "datacontenttype": st.sampled_from(
            ["application/json", "application/json; charset=utf-8", "application/vnd.x+json"]
        ),
    },
)
required = st.fixed_dictionaries(
    {"id": words, "source": words, "type": words, "specversion": st.just("1.0")}
)


@st.composite
def written(draw: st.DrawFn) -> tuple[BaseCloudEvent, Any]:
    """An event of the SDK, and its JSON data; sometimes as bytes, which become `data_base64` in an envelope."""
    data = draw(objects)
    body = json.dumps(data, ensure_ascii=draw(st.booleans())).encode()
    attributes = {**draw(required), **draw(optional), **draw(extensions)}
    return Written(attributes, body if draw(st.booleans()) else data), data


def read(message: http.HTTPMessage) -> CloudEvent:
    """Our reading of a request, with header names as a server passes them."""
    pairs = [(name.encode(), value.encode("ascii")) for name, value in message.headers.items()]
    return read_event(Headers(raw=pairs), message.body)


def names(event: BaseCloudEvent) -> tuple[str, str, str]:
    return event.get_id(), event.get_source(), event.get_type()


@given(written())
def test_an_event_in_binary_mode_is_read_as_the_sdk_reads_it(
    event: tuple[BaseCloudEvent, Any],
) -> None:
    message = http.to_binary(event[0], JSONFormat())

    theirs = http.from_binary(message, JSONFormat())
    assert read(message) == CloudEvent(*names(theirs), event[1])
    assert names(theirs) == names(event[0])


@given(written())
def test_an_event_in_structured_mode_is_read_as_the_sdk_reads_it(
    event: tuple[BaseCloudEvent, Any],
) -> None:
    message = http.to_structured(event[0], JSONFormat())

    theirs = http.from_structured(message, JSONFormat())
    assert read(message) == CloudEvent(*names(theirs), event[1])
    assert names(theirs) == names(event[0])
