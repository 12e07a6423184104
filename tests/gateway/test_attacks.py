"""Attacks on the gateway over real sockets."""

import asyncio

import pytest

from tests.gateway.door import BASE, answer, bearer, request
from tests.gateway.upstream import Upstream, caller

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
        # The edge's Deno uses the chunks if both are given, and closes the connection.
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
    "//attacker.example.com/functions/v1/auth-gateway/assistant/runs/1",
    "//attacker.example.com/auth-gateway/assistant/runs/1",
    "/functions/v1/auth-gateway/threads/runs/1",
    "/functions/v1/auth-gateway/../auth-gateway/assistant/runs/1",
    "/functions/v1/auth-gateway//assistant/runs/1",
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


async def test_only_the_path_of_an_absolute_address_counts(door: int, function: Upstream) -> None:
    async with caller(door) as client:
        target = "http://attacker.example.com/functions/v1/auth-gateway/assistant/runs/1"
        await client.say(request(target, "connection: close", method="GET"))
        reply = await client.rest()
    assert reply[9:12] in (b"200", b"400", b"404")
    assert {received.target for received in function.received} <= {"/runs/1"}
    assert all(
        received.values("host") == [f"127.0.0.1:{function.port}"] for received in function.received
    )


async def test_a_caller_cannot_forge_the_gateways_headers(door: int, function: Upstream) -> None:
    forged = (
        "x-supabase-user-id: admin",
        "x-forwarded-for: 10.0.0.1",
        "cookie: a=b",
        "connection: authorization",
    )
    assert await answer(door, request(f"{BASE}/runs/1", *forged, method="GET")) == 200
    assert await answer(door, request(f"{BASE}/runs/1", bearer(), method="GET")) == 401
    [received] = function.received
    names = {name for name, _ in received.headers}
    assert not names & {"x-supabase-user-id", "x-forwarded-for", "cookie"}
    assert received.values("accept-encoding") == ["identity"]


async def test_a_header_that_is_too_long_is_refused(door: int, function: Upstream) -> None:
    async with caller(door) as client:
        endless = request(f"{BASE}/runs/1", f"x-a: {'a' * 70_000}", method="GET")
        await client.say(endless.replace(b"host:", b"connection: close\r\nhost:"))
        await client.rest()
    assert all(not received.values("x-a") for received in function.received)
    function.received.clear()
    attack = request(f"{BASE}/runs/1", method="GET", token=f"{'a' * 9000}.a.a")
    assert await answer(door, attack) == 431
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
