"""The schedule's way through the gateway, as it is deployed: by the secret alone, to one address."""

from collections.abc import AsyncIterator

import pytest

from shared.core.errors import Unauthorized
from tests.gateway.door import BASE, answer, bearer, running, verifier
from tests.gateway.wire import Upstream, caller

KNOWN = "the schedule's, of 32 characters."
PROOF = f"x-sweep-secret: {KNOWN}"
SWEEP = f"{BASE}/sweep"


def said(*headers: str, target: str = SWEEP, method: str = "POST", body: str = "") -> bytes:
    """A request as the schedule makes it: without a user."""
    head = [f"{method} {target} HTTP/1.1", "host: gateway", f"content-length: {len(body)}"]
    return "\r\n".join([*head, *headers, "", body]).encode()


@pytest.fixture
async def scheduled(deno: str, function: Upstream) -> AsyncIterator[int]:
    """A gateway that knows the schedule's secret."""
    own = f"http://127.0.0.1:{function.port}"
    async with running(deno, FASTAPI_ORIGIN_URL_AGENT=own, SWEEP_SECRET=KNOWN) as port:
        yield port


async def test_the_function_can_verify_that_the_schedule_asks(
    scheduled: int, function: Upstream
) -> None:
    forged = ("x-gateway-assertion: forged", "cookie: a=b", bearer())
    assert await answer(scheduled, said(PROOF, *forged, body='{"sub": "someone"}')) == 200

    (received,) = function.received
    assert (received.method, received.target, received.body) == ("POST", "/sweep", b"")
    assert received.values("authorization") + received.values("cookie") == []
    word = received.values("x-gateway-assertion")
    verifier().verify_schedule(assertion=word, method="POST", path="/sweep")
    # It is about nobody: with a user's token beside it, it opens nothing.
    token = [bearer().partition(": ")[2]]
    with pytest.raises(Unauthorized):
        await verifier().verify(authorization=token, assertion=word, method="POST", path="/sweep")


async def test_nobody_else_reaches_anything(scheduled: int, function: Upstream) -> None:
    tries = [
        (said(), 401),
        (said(bearer()), 401),
        (said(PROOF[:-1]), 401),
        (said(PROOF, PROOF), 401),
        (said("x-sweep-secret:", PROOF), 401),
        (said(PROOF, method="GET"), 405),
        (said(PROOF, method="OPTIONS"), 405),
        (said(PROOF, target=f"{BASE}/runs"), 401),
        (said(PROOF, target=f"{BASE}//sweep"), 404),
        (said(PROOF, target=f"{BASE}/%73weep"), 404),
        (said(PROOF, target=f"{BASE}/runs/../sweep"), 404),
        (said(PROOF, target=f"{BASE}/sweep/"), 404),
        (said(PROOF, target="/functions/v1/auth-gateway/runner/sweep"), 404),
    ]
    for request, status in tries:
        async with caller(scheduled) as client:
            await client.say(request)
            given, headers = await client.head()
        assert given == status, request
        assert headers["content-type"] == "application/problem+json"
    assert function.received == []


async def test_without_a_secret_there_is_no_such_address(door: int, function: Upstream) -> None:
    for proof in (PROOF, "x-sweep-secret:", "x-sweep-secret: undefined", bearer()):
        assert await answer(door, said(proof)) == 404
    assert function.received == []
