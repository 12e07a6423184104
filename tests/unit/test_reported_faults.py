"""Errors that a provider reports in a response or a stream: which failure each one is."""

import json
from typing import Any

import pytest

from shared.core.json import Json
from shared.models.events import ModelFailed
from tests.doubles import chunk
from tests.fixtures.responses import sse
from tests.fixtures.turns import read

HELLO = chunk({"content": "Grüße "}) + chunk({"content": "🌍"})


def test_an_error_instead_of_a_stream_is_a_failure() -> None:
    body = json.dumps({"error": {"message": "canary", "type": "invalid_request_error"}}).encode()
    for is_chat in (True, False):
        with pytest.raises(ModelFailed) as failed:
            read([body], is_chat=is_chat, kind="application/json")
        assert (failed.value.code, failed.value.retryable) == ("model_rejected", False)
        assert "canary" not in failed.value.message


@pytest.mark.parametrize(
    "word", ["error", "ERROR", "abort", "insufficient_system_resource", "malformed_function_call"]
)
def test_a_finish_reason_may_mean_a_failure(word: str) -> None:
    with pytest.raises(ModelFailed) as failed:
        read([HELLO, chunk(finish=word)])
    assert (failed.value.code, failed.value.retryable) == ("model_failed", True)


def chat_error(**error: Any) -> bytes:
    return b"data: " + json.dumps({"error": error}).encode() + b"\n\n"


REPORTED = [
    ({"code": 400, "message": "canary"}, "model_rejected", False),
    ({"code": "400", "message": "canary"}, "model_rejected", False),
    ({"status": 422}, "model_rejected", False),
    ({"type": "invalid_request_error", "param": "tools[3].name"}, "model_rejected", False),
    ({"code": "context_length_exceeded"}, "model_rejected", False),
    ({"code": "insufficient_quota"}, "model_rejected", False),
    ({"code": 429, "type": "insufficient_quota"}, "model_rejected", False),
    ({"code": 429}, "model_failed", True),
    ({"code": 502}, "model_failed", True),
    ({"code": "server_error"}, "model_failed", True),
    ({"message": "canary"}, "model_failed", True),
]


@pytest.mark.parametrize(("error", "code", "retryable"), REPORTED)
def test_an_error_in_a_stream_counts_as_the_same_error_response_would(
    error: Json, code: str, retryable: bool
) -> None:
    flat = b"event: error\ndata: " + json.dumps(error).encode() + b"\n\n"
    streams = [
        (True, HELLO + chat_error(**error)),
        (True, HELLO + flat),
        (False, sse({"type": "error", "error": error})),
        (False, sse({"type": "response.failed", "response": {"error": error}})),
    ]
    for is_chat, sent in streams:
        with pytest.raises(ModelFailed) as failed:
            read([sent], is_chat=is_chat)
        assert (failed.value.code, failed.value.retryable) == (code, retryable), sent
        assert "canary" not in failed.value.message


def test_a_failure_has_the_status_the_code_and_the_parameter_of_the_provider() -> None:
    error = {"code": 400, "type": "invalid_request_error", "param": "tools[3].name"}
    with pytest.raises(ModelFailed) as failed:
        read([chat_error(**error, message="a sentence with canary")])

    assert failed.value.facts == {
        "code": "model_rejected",
        "status": 400,
        "provider_code": "invalid_request_error",
        "parameter": "tools[3].name",
    }


def test_a_providers_sentence_is_no_code() -> None:
    with pytest.raises(ModelFailed) as failed:
        read([chat_error(code="The user said canary", param="canary said")])
    assert failed.value.facts == {"code": "model_failed"}
