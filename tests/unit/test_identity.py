"""Both proofs of a request, against the table in tests/golden/tokens.json."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import pytest
from aiohttp import web

from shared.auth.identity import Principal, Verifier
from shared.auth.jwks import RemoteKeys, public_keys
from shared.core.errors import Problem, TokenTooLarge, Unauthorized

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "tokens.json").read_text())
TOKENS = {case["name"]: case for case in GOLDEN["tokens"]}
JWKS = json.dumps(GOLDEN["jwks"])
UNREACHABLE = "http://127.0.0.1:9/jwks.json"


class Clock:
    """A clock that moves only when a test sets it."""

    def __init__(self) -> None:
        self.now = float(GOLDEN["now"])

    def __call__(self) -> float:
        return self.now


def verifier(clock: Callable[[], float] | None = None, **changes: Any) -> Verifier:
    return Verifier(
        **{
            "function": GOLDEN["function"],
            "issuer": GOLDEN["issuer"],
            "gateway_keys": json.dumps(GOLDEN["gateway_jwks"]),
            "jwks": JWKS,
            "jwks_url": UNREACHABLE,
            "legacy_secret": None,
            "clock": clock or Clock(),
        }
        | changes
    )


async def authenticate(
    verifier: Verifier, name: str = "an ES256 token", **changes: Any
) -> Principal:
    case = TOKENS[name]
    request = {
        "authorization": case["authorization"],
        "assertion": [case["assertion"]],
        "method": "POST",
        "path": "/runs",
    }
    return await verifier.verify(**(request | changes))


def cases(kind: str, *, accepted: bool) -> pytest.MarkDecorator:
    chosen = [case for case in GOLDEN[kind] if case["accepted"] is accepted]
    return pytest.mark.parametrize("case", chosen, ids=lambda case: case["name"])


@cases("tokens", accepted=True)
async def test_a_good_token_gives_its_principal(case: dict[str, Any]) -> None:
    secret = GOLDEN["legacy_secret"] if case["legacy"] else None
    principal = await authenticate(verifier(legacy_secret=secret), case["name"])
    expected = case["principal"]
    assert principal == Principal(
        sub=UUID(expected["sub"]),
        session_id=UUID(expected["session_id"]),
        role="authenticated",
        is_anonymous=expected["is_anonymous"],
        app_role=expected["app_role"],
    )


@cases("tokens", accepted=False)
async def test_a_bad_token_is_refused_without_a_reason(case: dict[str, Any]) -> None:
    secret = GOLDEN["legacy_secret"] if case["legacy"] else None
    is_large = case["name"] == "a token over 8 KiB"
    kind: type[Problem] = TokenTooLarge if is_large else Unauthorized
    with pytest.raises(kind) as refusal:
        await authenticate(verifier(legacy_secret=secret), case["name"])
    assert refusal.value.detail == kind().detail
    assert re.fullmatch(r"token\.[a-z_]+", refusal.value.reason), "the log must say why"


@cases("assertions", accepted=True)
async def test_a_good_assertion_is_accepted(case: dict[str, Any]) -> None:
    names = ("authorization", "assertion", "method", "path")
    await verifier().verify(**{name: case[name] for name in names})


@cases("assertions", accepted=False)
async def test_a_bad_assertion_is_refused(case: dict[str, Any]) -> None:
    names = ("authorization", "assertion", "method", "path")
    with pytest.raises(Unauthorized) as refusal:
        await verifier().verify(**{name: case[name] for name in names})
    assert re.fullmatch(r"(token|assertion)\.[a-z_]+", refusal.value.reason), "the log must say why"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no header", "missing"),
        ("the header twice", "repeated"),
        ("another scheme", "malformed"),
        ("a token over 8 KiB", "too_large"),
    ],
)
async def test_what_is_wrong_with_a_token_is_in_the_log(name: str, reason: str) -> None:
    with pytest.raises(Problem) as refusal:
        await authenticate(verifier(), name)
    assert refusal.value.reason == f"token.{reason}"


async def test_what_is_wrong_with_an_assertion_is_in_the_log() -> None:
    good = TOKENS["an ES256 token"]
    other = TOKENS["an RS256 token"]
    at = verifier(clock=lambda: GOLDEN["now"] + 151.0)
    for changed, changes, reason in (
        (verifier(), {"assertion": []}, "assertion.missing"),
        (verifier(), {"assertion": [good["assertion"]] * 2}, "assertion.repeated"),
        (verifier(), {"assertion": [other["assertion"]]}, "assertion.of_another_token"),
        (verifier(), {"method": "GET"}, "assertion.of_another_request"),
        (verifier(), {"path": "/runs/1"}, "assertion.of_another_request"),
        (verifier(function="threads"), {}, "assertion.for_another_function"),
        (at, {}, "assertion.expired"),
        (verifier(issuer="https://other.example.com"), {}, "token.invalid_iss"),
        (verifier(jwks='{"keys": []}'), {}, "token.unknown_key"),
    ):
        with pytest.raises(Unauthorized) as refusal:
            await authenticate(changed, **changes)
        assert refusal.value.reason == reason


async def test_a_remembered_token_still_needs_its_own_assertion() -> None:
    remembering = verifier()
    await authenticate(remembering)
    for case in GOLDEN["assertions"]:
        if not case["accepted"]:
            names = ("authorization", "assertion", "method", "path")
            with pytest.raises(Unauthorized):
                await remembering.verify(**{name: case[name] for name in names})


async def test_only_known_claims_are_stored_with_a_run() -> None:
    plain = await authenticate(verifier())
    admin = await authenticate(verifier(), "a user with an app role")
    assert plain.claims == {
        "sub": str(plain.sub),
        "role": "authenticated",
        "session_id": str(plain.session_id),
        "is_anonymous": False,
    }
    assert admin.claims == {**plain.claims, "app_metadata": {"role": "admin"}}


async def test_a_remembered_token_ends_with_its_expiry() -> None:
    clock = Clock()
    remembering = verifier(clock)
    await authenticate(remembering, "a token in its last second")
    clock.now += 1
    with pytest.raises(Unauthorized):
        await authenticate(remembering, "a token in its last second")


class KeyServer:
    """Serves a JWKS, counts the fetches, and can be held, broken or changed."""

    def __init__(self) -> None:
        self.keys = JWKS
        self.status = 200
        self.fetches = 0
        self.requested = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.url = ""

    async def answer(self, _: web.Request) -> web.Response:
        self.fetches += 1
        self.requested.set()
        await self.open.wait()
        return web.Response(text=self.keys, status=self.status)


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    server = KeyServer()
    app = web.Application()
    app.router.add_get("/jwks.json", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}/jwks.json"
    async with asyncio.timeout(10):
        yield server
    await runner.cleanup()


def remote(server: KeyServer, clock: Clock) -> Verifier:
    return verifier(clock, jwks=None, jwks_url=server.url)


async def test_keys_are_fetched_once_for_many_callers(server: KeyServer) -> None:
    remote_verifier = remote(server, Clock())
    await asyncio.gather(*(authenticate(remote_verifier) for _ in range(20)))
    await authenticate(remote_verifier, "an RS256 token")
    assert server.fetches == 1


async def test_keys_are_fetched_again_when_they_are_old(server: KeyServer) -> None:
    clock = Clock()
    remote_verifier = remote(server, clock)
    await authenticate(remote_verifier)
    server.keys = json.dumps({"keys": []})
    clock.now += 599
    await authenticate(remote_verifier, assertion=[_fresh(clock)])
    clock.now += 61
    with pytest.raises(Unauthorized):
        await authenticate(remote_verifier, assertion=[_fresh(clock)])
    assert server.fetches == 2


async def test_a_flood_of_unknown_key_ids_costs_one_fetch_per_cooldown(server: KeyServer) -> None:
    clock = Clock()
    remote_verifier = remote(server, clock)
    await authenticate(remote_verifier)
    clock.now += 30
    for _ in range(50):
        with pytest.raises(Unauthorized):
            await authenticate(remote_verifier, "an unknown kid")
    assert server.fetches == 2


async def test_a_new_key_is_found_after_the_cooldown(server: KeyServer) -> None:
    clock = Clock()
    remote_verifier = remote(server, clock)
    old = [key for key in GOLDEN["jwks"]["keys"] if key["kid"] != "user-ec-next"]
    server.keys = json.dumps({"keys": old})
    await authenticate(remote_verifier)
    server.keys = JWKS
    with pytest.raises(Unauthorized):
        await authenticate(remote_verifier, "a token of the next key")
    clock.now += 30
    await authenticate(remote_verifier, "a token of the next key")
    assert server.fetches == 2


@pytest.mark.parametrize(("status", "keys"), [(500, JWKS), (200, "<html>"), (200, "{}"), (302, "")])
async def test_a_failing_key_server_gets_one_request_per_cooldown(
    server: KeyServer, status: int, keys: str
) -> None:
    server.status, server.keys = status, keys
    clock = Clock()
    remote_verifier = remote(server, clock)
    for _ in range(20):
        with pytest.raises(Unauthorized):
            await authenticate(remote_verifier)
    assert server.fetches == 1
    server.status, server.keys = 200, JWKS
    clock.now += 30
    await authenticate(remote_verifier)


async def test_old_keys_stay_good_for_an_hour_while_the_key_server_fails(server: KeyServer) -> None:
    clock = Clock()
    remote_verifier = remote(server, clock)
    await authenticate(remote_verifier)
    server.status = 503
    clock.now += 3539
    await authenticate(remote_verifier, assertion=[_fresh(clock)])
    clock.now = GOLDEN["now"] + 3600
    keys = RemoteKeys(server.url, public_keys, clock=clock)
    server.status = 200
    assert await keys.find(("ES256", "user-ec")) is not None
    server.status = 503
    clock.now += 3601
    assert await keys.find(("ES256", "user-ec")) is None


async def test_a_caller_that_hangs_up_does_not_stop_the_fetch(server: KeyServer) -> None:
    server.open.clear()
    remote_verifier = remote(server, Clock())
    impatient = asyncio.create_task(authenticate(remote_verifier))
    await server.requested.wait()
    patient = asyncio.create_task(authenticate(remote_verifier))
    impatient.cancel()
    server.open.set()
    await patient
    assert server.fetches == 1


async def test_a_clock_set_back_does_not_keep_old_keys(server: KeyServer) -> None:
    clock = Clock()
    keys = RemoteKeys(server.url, public_keys, clock=clock)
    await keys.find(("ES256", "user-ec"))
    clock.now -= 100_000
    await keys.find(("ES256", "user-ec"))
    assert server.fetches == 2


@pytest.mark.parametrize("keys", ["", "{}", "[]", '{"keys": 1}', '{"keys": []}'])
def test_unusable_gateway_keys_are_refused_at_start(keys: str) -> None:
    with pytest.raises(ValueError, match="GATEWAY_PUBLIC_KEYS"):
        verifier(gateway_keys=keys)


def test_a_short_legacy_secret_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="LEGACY_JWT_SECRET"):
        verifier(legacy_secret="short")  # noqa: S106 - a test's own


def test_private_and_symmetric_keys_are_left_out() -> None:
    assert set(public_keys(JWKS)) == {
        ("ES256", "user-ec"),
        ("ES256", "user-ec-next"),
        ("RS256", "user-rsa"),
        ("ES256", "broken"),
    }


def _fresh(clock: Clock) -> str:
    """An assertion for the first good token, signed at this moment."""
    claims = jwt.decode(TOKENS["an ES256 token"]["assertion"], options={"verify_signature": False})
    key = jwt.PyJWK(GOLDEN["gateway_signing_key"])
    return jwt.encode(
        {**claims, "iat": clock.now, "exp": clock.now + 140},
        key,
        headers={"typ": "gw+jwt", "kid": "gateway"},
    )
