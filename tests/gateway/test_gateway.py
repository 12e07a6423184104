"""The gateway as it is deployed: its own tests on both Denos, and requests over real sockets."""

import asyncio
import json
import subprocess
import time

import pytest

from tests.gateway.door import (
    BASE,
    FUNCTIONS,
    GATEWAY,
    GOLDEN,
    KEYRING,
    answer,
    current_deno,
    environment,
    request,
    running,
    serve,
    verifier,
)
from tests.gateway.upstream import Upstream, caller
from tests.golden.attacks import user
from tests.golden.signing import mint


def test_the_gateways_own_tests_pass(deno: str) -> None:
    check = [] if deno == current_deno() else ["--no-check"]
    command = [
        deno,
        "test",
        "-q",
        *check,
        "--no-lock",
        "--config",
        "auth-gateway/deno.json",
        "--allow-read",
        "tests",
    ]
    done = subprocess.run(
        command, cwd=FUNCTIONS, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.parametrize("command", [["fmt", "--check"], ["lint"]], ids=["format", "lint"])
def test_the_gateway_is_formatted_and_linted(command: list[str]) -> None:
    config = ["--config", str(GATEWAY / "deno.json")]
    paths = [str(GATEWAY), str(FUNCTIONS / "tests")]
    done = subprocess.run(
        [current_deno(), *command, *config, *paths],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def test_the_function_can_verify_what_the_gateway_forwards(
    door: int, function: Upstream
) -> None:
    target = f"{BASE}/runs/a%20b%3Ac/events?after=1.2"
    async with caller(door) as client:
        await client.say(request(target, "x-gateway-assertion: forged", method="GET"))
        status, _ = await client.head()
    received = function.received[0]
    assert (status, received.target) == (200, "/runs/a%20b%3Ac/events?after=1.2")
    principal = await verifier().verify(
        authorization=received.values("authorization"),
        assertion=received.values("x-gateway-assertion"),
        method=received.method,
        path=received.target.partition("?")[0],
    )
    assert str(principal.sub) == user()["sub"]


async def test_a_body_reaches_the_function_unchanged(door: int, function: Upstream) -> None:
    chunks = "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    keyed = ("content-length: 11", "idempotency-key: k")
    for sent in (
        request(f"{BASE}/runs", "content-length: 11", body="hello world"),
        request(f"{BASE}/runs", *keyed, body="hello world"),
        request(f"{BASE}/runs", "transfer-encoding: chunked", body=chunks),
    ):
        async with caller(door) as client:
            await client.say(sent)
            assert (await client.head())[0] == 200
    assert [received.body for received in function.received] == [b"hello world"] * 3


async def test_a_stream_arrives_as_it_is_written_and_ends_when_the_caller_leaves(
    door: int, function: Upstream
) -> None:
    proceed = asyncio.Event()

    async def stream(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
        writer.write(b"transfer-encoding: chunked\r\n\r\n")
        writer.write(b"9\r\ndata: 1\n\n\r\n")
        await writer.drain()
        await proceed.wait()
        while not writer.is_closing():
            writer.write(b"8\r\n: ping\n\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)
        function.failed.set()

    function.answer = stream
    async with caller(door) as client:
        await client.say(request())
        status, headers = await client.head()
        assert (status, headers["content-type"]) == (200, "text/event-stream")
        assert b"data: 1" in await client.reader.readuntil(b"data: 1\n\n")
        proceed.set()
        await client.reader.readuntil(b": ping\n\n")
    await asyncio.wait_for(function.failed.wait(), 10)


async def test_a_function_that_cannot_be_reached_is_unavailable(deno: str) -> None:
    async with running(deno, FASTAPI_ORIGIN_URL_ASSISTANT="http://127.0.0.1:9") as port:
        assert await answer(port, request(f"{BASE}/runs", "content-length: 0")) == 503
        assert await answer(port, request(f"{BASE}/runs/1", method="GET")) == 503


async def test_keys_are_fetched_where_none_are_given(deno: str, function: Upstream) -> None:
    keys = json.dumps(GOLDEN["jwks"]).encode()

    async def jwks(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(keys), keys))

    function.answer = jwks
    own = f"http://127.0.0.1:{function.port}"
    changes = {"SUPABASE_JWKS": "", "SUPABASE_URL": own, "FASTAPI_ORIGIN_URL_ASSISTANT": own}
    now = int(time.time())
    token = mint(KEYRING, "user-ec", user(iss=f"{own}/auth/v1", iat=now, exp=now + 600))
    sent = request(f"{BASE}/runs/1", method="GET", token=token)
    async with running(deno, **changes) as port:
        assert [await answer(port, sent), await answer(port, sent)] == [200, 200]
    targets = [received.target for received in function.received]
    assert targets == ["/auth/v1/.well-known/jwks.json", "/runs/1", "/runs/1"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FASTAPI_ORIGIN_URL", ""),
        ("FASTAPI_ORIGIN_URL", "https://assistant.example.com"),
        ("SUPABASE_JWKS", "{"),
        ("GATEWAY_SIGNING_KEY", "{}"),
        ("HEADER_TIMEOUT_SECONDS", "200"),
        ("SWEEP_SECRET", "short"),
    ],
)
def test_a_bad_setting_ends_the_start_with_one_sentence(deno: str, name: str, value: str) -> None:
    env = environment(**{name: value})
    done = subprocess.run(
        serve(deno), env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.strip().splitlines()) == 1
    assert name in done.stderr
