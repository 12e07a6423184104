"""The gateway as it is deployed: its own tests on both Denos, and attacks over real sockets."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.identity import Verifier
from tests.gateway.wire import Upstream, caller, upstream
from tests.golden.attacks import user
from tests.golden.signing import Keyring, mint

ROOT = Path(__file__).parents[2]
FUNCTIONS = ROOT / "supabase" / "functions"
GATEWAY = FUNCTIONS / "auth-gateway"
GOLDEN = json.loads((ROOT / "tests" / "golden" / "tokens.json").read_text())
KEYRING = Keyring(GOLDEN["private_keys"])
# What Supabase's edge runs, and what everybody runs locally.
EDGE_DENO = "2.1.4"
BASE = "/functions/v1/auth-gateway/agent"


def current_deno() -> str:
    beside = Path(sys.executable).with_name("deno")
    return (
        str(beside)
        if beside.exists()
        else shutil.which("deno") or unavailable("deno is not installed")
    )


def edge_deno() -> str:
    folder = ROOT / ".local" / f"deno-{EDGE_DENO}"
    found = [*folder.glob("node_modules/@deno/*/deno")]
    return str(found[0]) if found else _install_edge_deno(folder)


def _install_edge_deno(folder: Path) -> str:
    npm = shutil.which("npm") or unavailable(
        f"npm, which brings Deno {EDGE_DENO}, is not installed"
    )
    options = ["--no-package-lock", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
    command = [npm, "install", "--prefix", str(folder), *options, f"deno@{EDGE_DENO}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = [*folder.glob("node_modules/@deno/*/deno")]
    return (
        str(found[0])
        if found
        else unavailable(f"npm did not bring Deno {EDGE_DENO}: {done.stderr[-300:]}")
    )


def unavailable(reason: str) -> str:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session", params=["current", "edge"])
def deno(request: pytest.FixtureRequest) -> str:
    # The current one fetches what both need: the old one does not know every certificate.
    entry = str(GATEWAY / "index.ts")
    command = [
        current_deno(),
        "cache",
        "-q",
        "--no-lock",
        "--config",
        str(GATEWAY / "deno.json"),
        entry,
    ]
    subprocess.run(command, check=True, timeout=120)
    return current_deno() if request.param == "current" else edge_deno()


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


def environment(**changes: str) -> dict[str, str]:
    return {
        **{name: os.environ[name] for name in ("HOME", "PATH", "DENO_DIR") if name in os.environ},
        "NO_COLOR": "1",
        "FASTAPI_ORIGIN_URL": "http://{function}.invalid",
        "SUPABASE_URL": GOLDEN["issuer"].removesuffix("/auth/v1"),
        "SUPABASE_JWKS": json.dumps(GOLDEN["jwks"]),
        "GATEWAY_SIGNING_KEY": json.dumps(GOLDEN["gateway_signing_key"]),
        "PORT": "0",
        "HOST": "127.0.0.1",
        **changes,
    }


def serve(deno: str) -> list[str]:
    config = str(GATEWAY / "deno.json")
    return [
        deno,
        "run",
        "--no-lock",
        "--config",
        config,
        "--allow-net",
        "--allow-env",
        str(GATEWAY / "index.ts"),
    ]


@asynccontextmanager
async def running(deno: str, **changes: str) -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(
        *serve(deno), env=environment(**changes), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        yield json.loads(line)["port"]
    finally:
        process.kill()
        await process.communicate()


@pytest.fixture
async def function() -> AsyncIterator[Upstream]:
    async with upstream() as function:
        yield function


@pytest.fixture
async def door(deno: str, function: Upstream) -> AsyncIterator[int]:
    own = f"http://127.0.0.1:{function.port}"
    async with running(deno, FASTAPI_ORIGIN_URL_AGENT=own, MAX_BODY_BYTES="100000") as port:
        yield port


def bearer(token: str = "") -> str:
    now = int(time.time())
    return (
        f"authorization: Bearer {token or mint(KEYRING, 'user-ec', user(iat=now, exp=now + 600))}"
    )


def request(
    target: str = f"{BASE}/runs",
    *headers: str,
    method: str = "POST",
    body: str = "",
    token: str = "",
) -> bytes:
    head = [f"{method} {target} HTTP/1.1", "host: gateway", bearer(token), *headers]
    return "\r\n".join([*head, "", body]).encode("latin-1")


async def answer(port: int, said: bytes) -> int:
    async with caller(port) as client:
        await client.say(said)
        status, _ = await client.head()
        return status


async def test_the_function_can_verify_what_the_gateway_forwards(
    door: int, function: Upstream
) -> None:
    target = f"{BASE}/runs/a%20b%3Ac/events?after=1.2"
    async with caller(door) as client:
        await client.say(request(target, "x-gateway-assertion: forged", method="GET"))
        status, _ = await client.head()
    received = function.received[0]
    assert (status, received.target) == (200, "/runs/a%20b%3Ac/events?after=1.2")
    verifier = Verifier(
        function="agent",
        issuer=GOLDEN["issuer"],
        gateway_keys=json.dumps(GOLDEN["gateway_jwks"]),
        jwks=json.dumps(GOLDEN["jwks"]),
        jwks_url="",
        legacy_secret=None,
    )
    principal = await verifier.verify(
        authorization=received.values("authorization"),
        assertion=received.values("x-gateway-assertion"),
        method=received.method,
        path=received.target.partition("?")[0],
    )
    assert str(principal.sub) == user()["sub"]


async def test_a_body_reaches_the_function_unchanged(door: int, function: Upstream) -> None:
    chunks = "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    keyed = ("content-length: 11", "idempotency-key: k")
    for said in (
        request(f"{BASE}/runs", "content-length: 11", body="hello world"),
        request(f"{BASE}/runs", *keyed, body="hello world"),
        request(f"{BASE}/runs", "transfer-encoding: chunked", body=chunks),
    ):
        async with caller(door) as client:
            await client.say(said)
            assert (await client.head())[0] == 200
    assert [received.body for received in function.received] == [b"hello world"] * 3


SMUGGLED = f"POST {BASE}/connect HTTP/1.1\r\nhost: gateway\r\n\r\n"
FRAMING = {
    "length and chunked": ["content-length: 5", "transfer-encoding: chunked"],
    "chunked and length": ["transfer-encoding: chunked", "content-length: 5"],
    "two lengths": ["content-length: 5", "content-length: 500"],
    "lengths with a comma": ["content-length: 5, 500"],
    "a negative length": ["content-length: -1"],
    "a length with a sign": ["content-length: +5"],
    "an odd encoding": ["transfer-encoding: xchunked"],
    "chunked twice removed": ["transfer-encoding: chunked, identity"],
    "a space before the colon": ["transfer-encoding : chunked"],
    "a folded header": ["x-a: 1\r\n content-length: 5"],
    "a line end in a header": ["x-a: 1\rcontent-length: 5"],
    "a NUL in a header": ["x-a: 1\0"],
}


@pytest.mark.parametrize("name", FRAMING)
async def test_a_request_of_two_lengths_is_never_two_requests(
    door: int, function: Upstream, name: str
) -> None:
    async with caller(door) as client:
        await client.say(request(f"{BASE}/runs", *FRAMING[name], body=f"0\r\n\r\n{SMUGGLED}"))
        client.writer.write_eof()
        reply = await client.rest()
    if reply.startswith(b"HTTP/1.1 200"):
        # The edge's Deno goes by the chunks where both are given, and ends the connection.
        assert {"content-length: 5", "transfer-encoding: chunked"} == {*FRAMING[name]}
        assert reply.count(b"HTTP/1.1") == 1
        assert [(one.target, one.body) for one in function.received] == [("/runs", b"")]
    else:
        assert reply.startswith(b"HTTP/1.1 400") or reply == b""
        assert function.received == []


ADDRESSES = [
    f"{BASE}/runs/..",
    f"{BASE}/runs/../connect",
    f"{BASE}/runs/%2e%2e",
    f"{BASE}/runs/%2E%2e/events",
    f"{BASE}/runs/.%2e/events",
    f"{BASE}/runs/a%2fb",
    f"{BASE}/runs/a%5cb",
    f"{BASE}/runs/a\\b",
    f"{BASE}/runs/a%00b",
    f"{BASE}/runs/a%0d%0ax:1",
    f"{BASE}/runs/%zz",
    f"{BASE}@attacker.example.com/runs/1",
    "//attacker.example.com/functions/v1/auth-gateway/agent/runs/1",
    "//attacker.example.com/auth-gateway/agent/runs/1",
    "/functions/v1/auth-gateway/threads/runs/1",
    "/functions/v1/auth-gateway/../auth-gateway/agent/runs/1",
    "/functions/v1/auth-gateway//agent/runs/1",
    "http://attacker.example.com/",
    "*",
    "attacker.example.com:443",
    "",
]


async def test_no_odd_address_reaches_a_function(door: int, function: Upstream) -> None:
    for target in ADDRESSES:
        async with caller(door) as client:
            await client.say(request(target, "connection: close", method="GET"))
            reply = await client.rest()
        assert reply[9:12] in (b"400", b"404", b""), (target, reply)
    assert function.received == []


async def test_an_absolute_address_decides_nothing_but_the_path(
    door: int, function: Upstream
) -> None:
    async with caller(door) as client:
        target = "http://attacker.example.com/functions/v1/auth-gateway/agent/runs/1"
        await client.say(request(target, "connection: close", method="GET"))
        reply = await client.rest()
    assert reply[9:12] in (b"200", b"400", b"404")
    assert {received.target for received in function.received} <= {"/runs/1"}
    assert all(
        received.values("host") == [f"127.0.0.1:{function.port}"] for received in function.received
    )


async def test_headers_of_a_caller_cannot_speak_for_the_gateway(
    door: int, function: Upstream
) -> None:
    said = (
        "x-supabase-user-id: admin",
        "x-forwarded-for: 10.0.0.1",
        "cookie: a=b",
        "connection: authorization",
    )
    assert await answer(door, request(f"{BASE}/runs/1", *said, method="GET")) == 200
    assert await answer(door, request(f"{BASE}/runs/1", bearer(), method="GET")) == 401
    [received] = function.received
    names = {name for name, _ in received.headers}
    assert not names & {"x-supabase-user-id", "x-forwarded-for", "cookie"}
    assert received.values("accept-encoding") == ["identity"]


async def test_a_header_without_end_goes_no_further(door: int, function: Upstream) -> None:
    async with caller(door) as client:
        endless = request(f"{BASE}/runs/1", f"x-a: {'a' * 70_000}", method="GET")
        await client.say(endless.replace(b"host:", b"connection: close\r\nhost:"))
        await client.rest()
    assert all(not received.values("x-a") for received in function.received)
    function.received.clear()
    said = request(f"{BASE}/runs/1", method="GET", token=f"{'a' * 9000}.a.a")
    assert await answer(door, said) == 401
    assert function.received == []


async def test_a_body_over_the_cap_is_refused_while_it_comes(door: int, function: Upstream) -> None:
    async with caller(door) as client:
        await client.say(request(f"{BASE}/runs", "content-length: 5000000", "connection: close"))
        assert (await client.head())[0] == 413
    assert function.received == []
    async with caller(door) as client:
        await client.say(request(f"{BASE}/runs", "transfer-encoding: chunked"))
        piece = b"2710\r\n" + b"x" * 10_000 + b"\r\n"
        for _ in range(11):
            await client.say(piece)
        assert (await client.head())[0] == 413
    await asyncio.wait_for(function.failed.wait(), 10)


async def test_a_stream_arrives_as_it_is_written_and_ends_when_the_caller_leaves(
    door: int, function: Upstream
) -> None:
    go_on = asyncio.Event()

    async def stream(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
        writer.write(b"transfer-encoding: chunked\r\n\r\n")
        writer.write(b"9\r\ndata: 1\n\n\r\n")
        await writer.drain()
        await go_on.wait()
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
        go_on.set()
        await client.reader.readuntil(b": ping\n\n")
    await asyncio.wait_for(function.failed.wait(), 10)


async def test_a_function_that_is_not_there_is_unavailable(deno: str) -> None:
    async with running(deno, FASTAPI_ORIGIN_URL_AGENT="http://127.0.0.1:9") as port:
        assert await answer(port, request(f"{BASE}/runs", "content-length: 0")) == 503
        assert await answer(port, request(f"{BASE}/runs/1", method="GET")) == 503


async def test_keys_are_fetched_where_none_are_given(deno: str, function: Upstream) -> None:
    keys = json.dumps(GOLDEN["jwks"]).encode()

    async def jwks(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(keys), keys))

    function.answer = jwks
    own = f"http://127.0.0.1:{function.port}"
    changes = {"SUPABASE_JWKS": "", "SUPABASE_URL": own, "FASTAPI_ORIGIN_URL_AGENT": own}
    now = int(time.time())
    token = mint(KEYRING, "user-ec", user(iss=f"{own}/auth/v1", iat=now, exp=now + 600))
    said = request(f"{BASE}/runs/1", method="GET", token=token)
    async with running(deno, **changes) as port:
        assert [await answer(port, said), await answer(port, said)] == [200, 200]
    targets = [received.target for received in function.received]
    assert targets == ["/auth/v1/.well-known/jwks.json", "/runs/1", "/runs/1"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FASTAPI_ORIGIN_URL", ""),
        ("FASTAPI_ORIGIN_URL", "https://agent.example.com"),
        ("SUPABASE_JWKS", "{"),
        ("GATEWAY_SIGNING_KEY", "{}"),
        ("HEADER_TIMEOUT_SECONDS", "200"),
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
