"""When a request to a model's server is repeated."""

import pytest

from shared.models import server as model_server
from shared.models.providers import Provider
from shared.models.server import ModelServer, Rejected
from tests.fixtures.scripted_server import TEXT, WHOLE, Server, read, serving


def refusal(status: int, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d No" % status, b"content-length: 0", *headers]
    return b"\r\n".join([*lines, b"", b""])


SOON = b"retry-after-ms: 1"


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
async def test_a_request_is_repeated_after_a_failure_that_passes(status: int) -> None:
    async with serving([refusal(status, SOON)], [WHOLE]) as (server, _):
        model = ModelServer(provider(server))
        assert await read(await model.post("/chat", {"a": 1})) == TEXT + b"!!"
        first, second = server.requests
        assert first == second
        assert b"\r\nauthorization: Bearer key\r\n" in first
        assert first.endswith(b'{"a":1}')
        model.close()


@pytest.mark.parametrize("status", [307, 400, 401, 403, 404, 422])
async def test_a_request_is_not_repeated_after_a_refusal_that_stays(status: int) -> None:
    async with serving([refusal(status, SOON)]) as (server, _):
        with pytest.raises(Rejected) as rejected:
            await ModelServer(provider(server)).post("/chat", {})
        assert (rejected.value.status, rejected.value.may_pass) == (status, False)
        assert len(server.requests) == 1


async def test_a_request_is_sent_three_times_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_server, "_PAUSES", (0.0, 0.0))
    async with serving([b""], [refusal(502)], [refusal(503)], closes=True) as (server, _):
        with pytest.raises(Rejected, match="503"):
            await ModelServer(provider(server)).post("/chat", {})
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0.0),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "61"}, 0.0),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after": "nan"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.0),
    ],
)
def test_a_servers_pause_is_kept_if_it_is_short(headers: dict[str, str], seconds: float) -> None:
    assert Rejected(429, headers).retry_after == seconds


def provider(server: Server) -> Provider:
    return Provider(server.url, "key", "chat_completions")
