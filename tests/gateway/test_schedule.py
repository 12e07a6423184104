"""The schedule's requests through the gateway: accepted with the secret alone, and for one address."""

from collections.abc import AsyncIterator

import pytest

from shared.core.errors import Unauthorized
from tests.gateway.door import BASE, answer, bearer, running, verifier
from tests.gateway.upstream import Upstream, caller

KNOWN = "the schedule's, of 32 characters."
PROOF = f"x-sweep-secret: {KNOWN}"
SWEEP = f"{BASE}/sweep"


def sweep_request(
    *headers: str, target: str = SWEEP, method: str = "POST", body: str = ""
) -> bytes:
    """A request as the schedule makes it: without a user."""
    head = [f"{method} {target} HTTP/1.1", "host: gateway", f"content-length: {len(body)}"]
    return "\r\n".join([*head, *headers, "", body]).encode()


@pytest.fixture
async def scheduled(deno: str, function: Upstream) -> AsyncIterator[int]:
    """A gateway with the schedule's secret."""
    own = f"http://127.0.0.1:{function.port}"
    async with running(deno, FASTAPI_ORIGIN_URL_ASSISTANT=own, SWEEP_SECRET=KNOWN) as port:
        yield port


async def test_the_function_can_verify_a_request_of_the_schedule(
    scheduled: int, function: Upstream
) -> None:
    forged = ("x-gateway-assertion: forged", "cookie: a=b", bearer())
    assert await answer(scheduled, sweep_request(PROOF, *forged, body='{"sub": "someone"}')) == 200

    (received,) = function.received
    assert (received.method, received.target, received.body) == ("POST", "/sweep", b"")
    assert received.values("authorization") + received.values("cookie") == []
    word = received.values("x-gateway-assertion")
    verifier().verify_schedule(assertion=word, method="POST", path="/sweep")
    # It acts for no user: it opens no other address, also with a user's token beside it.
    token = [bearer().partition(": ")[2]]
    with pytest.raises(Unauthorized):
        await verifier().verify(authorization=token, assertion=word, method="POST", path="/sweep")


async def test_any_other_request_is_refused(scheduled: int, function: Upstream) -> None:
    tries = [
        (sweep_request(), 401),
        (sweep_request(bearer()), 401),
        (sweep_request(PROOF[:-1]), 401),
        (sweep_request(PROOF, PROOF), 401),
        (sweep_request("x-sweep-secret:", PROOF), 401),
        (sweep_request(PROOF, method="GET"), 405),
        (sweep_request(PROOF, method="OPTIONS"), 405),
        (sweep_request(PROOF, target=f"{BASE}/runs"), 401),
        (sweep_request(PROOF, target=f"{BASE}//sweep"), 404),
        (sweep_request(PROOF, target=f"{BASE}/%73weep"), 404),
        (sweep_request(PROOF, target=f"{BASE}/runs/../sweep"), 404),
        (sweep_request(PROOF, target=f"{BASE}/sweep/"), 404),
        (sweep_request(PROOF, target="/functions/v1/auth-gateway/runner/sweep"), 404),
    ]
    for request, status in tries:
        async with caller(scheduled) as client:
            await client.say(request)
            given, headers = await client.head()
        assert given == status, request
        assert headers["content-type"] == "application/problem+json"
    assert function.received == []


async def test_without_a_configured_secret_the_address_does_not_exist(
    door: int, function: Upstream
) -> None:
    for proof in (PROOF, "x-sweep-secret:", "x-sweep-secret: undefined", bearer()):
        assert await answer(door, sweep_request(proof)) == 404
    assert function.received == []
