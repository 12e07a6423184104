"""A request that is longer than the model's context is shortened until it fits, in every spelling of the refusal."""

import json
from collections.abc import AsyncIterator

import pytest

from shared.core.json import Json
from shared.core.settings import Settings
from shared.models.events import ContextOverflow, ModelFailed
from shared.models.openai import OpenAIModel
from shared.models.overflow import is_overflow, says_overflow
from shared.models.requests import ModelRequest
from shared.models.responses import Responses
from tests.doubles import ModelServer, Piece, Reply, model_server, says
from tests.fixtures.items import assistant, request, user
from tests.fixtures.model_servers import text_from

SPELLINGS = {
    "OpenAI": {"error": {"code": "context_length_exceeded", "message": "canary"}},
    "OpenAI Responses": {
        "error": {"message": "Your input exceeds the context window of this model."}
    },
    "Anthropic": {"error": {"message": "prompt is too long: 213462 tokens > 200000 maximum"}},
    "Anthropic limits": {
        "error": {
            "message": "input length and `max_tokens` exceed context limit: 170636 + 34048 > 200000"
        }
    },
    "Gemini": [
        {
            "error": {
                "code": 400,
                "message": "The input token count (1196265) exceeds the maximum number of tokens allowed.",
                "status": "INVALID_ARGUMENT",
            }
        }
    ],
    "Mistral": {
        "message": "Prompt contains 66000 tokens, too large for model with 32768 maximum context length"
    },
    "vLLM": {
        "message": "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
        "code": 400,
    },
    "llama.cpp": {"error": {"type": "exceed_context_size_error", "n_ctx": 8192}},
    "llama.cpp words": {
        "error": "the request exceeds the available context size, try increasing it"
    },
    "xAI": "This model's maximum prompt length is 131072 but the request contains 537812 tokens",
    "Groq": {"error": {"message": "Please reduce the length of the messages or completion."}},
    "Together": "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
    "Bedrock": {"message": "Input is too long for requested model."},
    "Ollama": {"error": "prompt too long; exceeded max context length by 12 tokens"},
    "LM Studio": {
        "error": "tokens to keep from the initial prompt is greater than the context length"
    },
    "Kimi": {
        "error": {"message": "Your request exceeded model token limit: 262144 (requested: 269030)"}
    },
    "MiniMax": {"base_resp": {"status_msg": "invalid params, context window exceeds limit (2013)"}},
    "DashScope": {"message": "Range of input length should be [1, 30720]"},
    "Zhipu": {"error": {"code": "1261", "message": "Prompt 超长"}},
    "Poolside": {
        "message": "Input length 131393 exceeds the maximum allowed input length of 131040 tokens."
    },
    "proxy": {"message": "Input length (265330) exceeds model's maximum context length (262144)."},
    "Copilot": {"error": {"message": "prompt token count of 130000 exceeds the limit of 128000"}},
}
OTHERS = {
    "a key": {"error": {"code": "invalid_api_key", "message": "Incorrect API key provided."}},
    "a model": {"error": {"code": "model_not_found", "message": "The model does not exist."}},
    "a role": {"message": "Unexpected role 'user' after role 'tool'"},
    "a text": "Bad Request",
    "max_tokens": {"error": {"message": "max_tokens is too large: 9999."}},
    "null": None,
}
REFUSED = Reply([json.dumps(SPELLINGS["OpenAI"]).encode()], status=400)


@pytest.mark.parametrize("server", SPELLINGS)
def test_every_server_has_its_own_spelling(server: str) -> None:
    assert is_overflow(400, json.dumps(SPELLINGS[server]).encode())
    assert says_overflow(SPELLINGS[server])


@pytest.mark.parametrize("error", OTHERS)
def test_other_errors_are_no_overflow(error: str) -> None:
    assert not is_overflow(400, json.dumps(OTHERS[error]).encode())


def test_a_limit_per_minute_is_no_overflow() -> None:
    limit = (
        b'{"error": {"code": "rate_limit_exceeded", "message": "maximum context length is 8192"}}'
    )

    assert not is_overflow(429, limit)
    assert not is_overflow(503, limit)


@pytest.mark.parametrize("body", [b"", b"\xff", b"prompt is too long", b"[" * 100_000])
def test_any_body_can_be_read(body: bytes) -> None:
    assert is_overflow(400, body) == (body == b"prompt is too long")
    assert is_overflow(413, body)


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with model_server() as running:
        yield running


def long_request(tokens: int = 128_000) -> ModelRequest:
    """About 20,000 tokens."""
    items = [
        item
        for n in range(20)
        for item in (user("word " * 400, f"u{n}"), assistant("word " * 400, f"m{n}"))
    ]
    return request(*items, user("And now?", "last"), context_tokens=tokens)


async def test_a_longer_request_than_the_context_is_shortened_until_it_fits(
    server: ModelServer,
) -> None:
    server.will(REFUSED, REFUSED, says("fine"))

    assert await text_from(server, long_request()) == "fine"
    sizes = [len(sent["messages"]) for sent in server.requests]
    assert sizes[0] > sizes[1] > sizes[2]
    assert all(sent["messages"][-1]["content"] == "And now?" for sent in server.requests)


@pytest.mark.parametrize("api", ["chat_completions", "responses"])
async def test_an_overflow_in_the_stream_is_one_too(server: ModelServer, api: str) -> None:
    error: Json = {"error": SPELLINGS["OpenAI"]["error"]}  # type: ignore[index]
    failed = {"type": "response.failed", "response": error} if api == "responses" else error
    pieces: list[Piece] = [b"data: " + json.dumps(failed).encode() + b"\n\n"]
    server.will(pieces)
    settings = Settings(openai_base_url=server.url, openai_api_key="key", openai_api=api)  # type: ignore[arg-type]
    model = OpenAIModel(settings)
    server.will(Reply(status=401))

    with pytest.raises(ModelFailed, match="401"):
        async for _ in model.stream(long_request()):
            pass
    await model.close()
    assert len(json.dumps(server.requests[1])) < len(json.dumps(server.requests[0]))


@pytest.mark.parametrize(
    ("event", "is_overflow"),
    [
        ({"type": "error", "code": "context_length_exceeded", "message": "canary"}, True),
        ({"type": "error", "code": None, "message": "prompt is too long"}, True),
        ({"error": {"message": "prompt is too long"}}, True),
        (
            {
                "type": "response.failed",
                "response": {
                    "instructions": "prompt is too long",
                    "error": {"code": "server_error"},
                },
            },
            False,
        ),
        ({"type": "response.failed", "response": {"error": None}}, False),
    ],
)
def test_only_the_error_of_a_failed_response_counts(event: Json, is_overflow: bool) -> None:
    reader = Responses("").reader()
    reader.feed(b"data: " + json.dumps(event).encode() + b"\n\n")

    with pytest.raises(ModelFailed) as failed:
        reader.finish()
    assert isinstance(failed.value, ContextOverflow) == is_overflow


async def test_a_request_that_cannot_get_shorter_fails(server: ModelServer) -> None:
    server.will(REFUSED)

    with pytest.raises(ModelFailed) as failed:
        await text_from(server, request(user("hi")))
    assert (failed.value.code, failed.value.retryable) == ("model_rejected", False)
    assert "canary" not in failed.value.message


async def test_an_answer_that_has_started_is_not_requested_again(server: ModelServer) -> None:
    error = b"data: " + json.dumps(SPELLINGS["OpenAI"]).encode() + b"\n\n"
    server.will([*says("Well")[:1], error])

    with pytest.raises(ModelFailed):
        await text_from(server, long_request())
    assert len(server.requests) == 1


def test_an_error_may_be_nested_deeply() -> None:
    assert not is_overflow(400, b'{"a":' * 900 + b"1" + b"}" * 900)
    assert is_overflow(400, b'{"a":' * 900 + b'"prompt is too long"' + b"}" * 900)
