"""The parts of a user's message: each API gets what it takes, and what it cannot take is named."""

from base64 import b64encode
from typing import Any, get_args

import pytest
from openai.types.chat import ChatCompletionContentPartParam
from openai.types.responses import ResponseInputContentParam
from pydantic import TypeAdapter

from shared.core.json import Json
from shared.models.content import visible_parts
from shared.models.providers import ApiName
from shared.models.user_parts import refused_parts, user_parts

TEXT = b64encode("a,b\nü,2".encode()).decode()


def data(kind: str, mime: str, value: str = "AAAA", **more: object) -> Json:
    return {"type": kind, "source": {"type": "data", "value": value, "mimeType": mime}, **more}


def link(kind: str, url: str = "https://example.com/x", **more: object) -> Json:
    return {"type": kind, "source": {"type": "url", "value": url, **more}}


def binary(mime: str, **more: str) -> Json:
    return {"type": "binary", "mimeType": mime, **more}


def audio(format_: str) -> Json:
    return {"type": "input_audio", "input_audio": {"data": "AAAA", "format": format_}}


def pdf(name: str = "document.pdf") -> Json:
    return {"filename": name, "file_data": "data:application/pdf;base64,AAAA"}


CHAT: list[tuple[Json, Json]] = [
    (data("audio", "audio/wav"), audio("wav")),
    (data("audio", "audio/mpeg"), audio("mp3")),
    (binary("audio/x-wav", data="AAAA"), audio("wav")),
    (data("document", "application/pdf"), {"type": "file", "file": pdf()}),
    (
        data("document", "application/pdf", metadata={"filename": "a.pdf"}),
        {"type": "file", "file": pdf("a.pdf")},
    ),
    (
        binary("application/pdf", data="AAAA", filename="b.pdf"),
        {"type": "file", "file": pdf("b.pdf")},
    ),
    (data("document", "text/csv", TEXT), {"type": "text", "text": "document.csv:\na,b\nü,2"}),
    (
        binary("image/png", data="AAAA"),
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ),
    (
        binary("image/png", url="https://example.com/x"),
        {"type": "image_url", "image_url": {"url": "https://example.com/x"}},
    ),
]
RESPONSES: list[tuple[Json, Json]] = [
    (data("document", "application/pdf"), {"type": "input_file", **pdf()}),
    (link("document"), {"type": "input_file", "file_url": "https://example.com/x"}),
    (binary("application/pdf", data="AAAA"), {"type": "input_file", **pdf()}),
    (
        data("document", "text/plain; charset=utf-8", TEXT),
        {"type": "input_text", "text": "document.plain:\na,b\nü,2"},
    ),
    (
        data("document", "application/vnd.ms-excel"),
        {
            "type": "input_file",
            "filename": "document",
            "file_data": "data:application/vnd.ms-excel;base64,AAAA",
        },
    ),
]
CASES = [("chat_completions", *case) for case in CHAT] + [("responses", *c) for c in RESPONSES]
TYPES: dict[str, Any] = {
    "chat_completions": ChatCompletionContentPartParam,
    "responses": ResponseInputContentParam,
}


@pytest.mark.parametrize(("api", "part", "sent"), CASES)
def test_a_part_is_sent_in_the_words_of_the_api(api: ApiName, part: Json, sent: Json) -> None:
    assert user_parts(visible_parts([part]), api) == [sent]
    assert refused_parts([part], api) == []
    TypeAdapter(TYPES[api]).validate_python(sent)


@pytest.mark.parametrize(
    ("api", "part", "name"),
    [
        ("chat_completions", data("audio", "audio/ogg"), "audio (audio/ogg)"),
        ("chat_completions", link("audio"), "audio"),
        ("chat_completions", link("document"), "document"),
        (
            "chat_completions",
            data("document", "application/msword"),
            "document (application/msword)",
        ),
        ("chat_completions", data("video", "video/mp4"), "video (video/mp4)"),
        ("chat_completions", binary("application/pdf", id="file-1"), "binary"),
        ("chat_completions", data("document", "text/plain", "no base64"), "document (text/plain)"),
        ("responses", data("audio", "audio/wav"), "audio (audio/wav)"),
        ("responses", link("video"), "video"),
        *((api, {"type": "image"}, "image") for api in get_args(ApiName)),
        *((api, {"type": "text"}, "text") for api in get_args(ApiName)),
        *((api, {"type": "hologram"}, "hologram") for api in get_args(ApiName)),
        *((api, {}, "part") for api in get_args(ApiName)),
    ],
)
def test_what_an_api_cannot_take_is_named(api: ApiName, part: Json, name: str) -> None:
    text = {"type": "text", "text": "see"}
    assert refused_parts([text, part], api) == [name]
    # For a thread that another agent continues.
    assert "cannot be shown here" in user_parts(visible_parts([part]), api)[0]["text"]


def test_a_text_has_no_parts() -> None:
    assert refused_parts("hi", "responses") == []
