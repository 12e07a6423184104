"""The client of MCP with servers as they are: older ones, restarts, redirects, long lists, their own requests."""

import asyncio
import json

import pytest

from shared.mcp.faults import ServerFailed
from shared.mcp.transport import moved
from tests.fixtures.mcp_server import (
    OlderServer,
    Response,
    Sent,
    mcp_server,
    refused,
    result,
)
from tests.fixtures.waiting import eventually

_DOUBLE = {"name": "double", "arguments": {"n": 4}}


def content(sent: Sent) -> Response:
    return result(sent, content=[{"type": "text", "text": "8"}])


@pytest.mark.parametrize("version", ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"])
async def test_the_version_that_the_server_chose_is_used(version: str) -> None:
    async with mcp_server(OlderServer(content, version=version)) as (client, received):
        assert (await client.call_tool(_DOUBLE, {}))["content"][0]["text"] == "8"

    later = [sent for sent in received if "mcp-session-id" in sent.headers]
    assert {sent.headers["mcp-protocol-version"] for sent in later} == {version}


@pytest.mark.parametrize(
    "unknown",
    [
        lambda sent: refused(sent, -32000, "No valid session ID provided", status=400),
        lambda sent: refused(sent, -32600, "Session not found", status=400),
        lambda sent: refused(sent, -32001, "Session not found", status=404),
        lambda _: Response(400, body=b"Bad Request: No valid session ID provided"),
        lambda _: Response(404),
    ],
    ids=["typescript", "python", "mcp", "python 1.12", "empty"],
)
async def test_a_restarted_server_gets_a_new_handshake_and_the_call_once_more(
    unknown: object,
) -> None:
    server = OlderServer(content, unknown=unknown)  # type: ignore[arg-type]  # a list of functions
    async with mcp_server(server) as (client, received):
        await client.call_tool(_DOUBLE, {})
        server.restart(version="2025-03-26")
        received.clear()
        await client.call_tool(_DOUBLE, {})
        await client.call_tool(_DOUBLE, {})

    methods = ["tools/call", "initialize", "notifications/initialized", "tools/call", "tools/call"]
    assert [sent.method for sent in received] == methods


async def test_a_call_is_made_twice_at_most() -> None:
    server = OlderServer(lambda sent: refused(sent, -32000, status=400))
    async with mcp_server(server) as (client, received):
        with pytest.raises(ServerFailed):
            await client.call_tool(_DOUBLE, {})

    # The first one is of 2026-07-28.
    assert [sent.method for sent in received].count("tools/call") == 3


async def test_calls_that_find_the_session_gone_together_share_the_new_one() -> None:
    server = OlderServer(content)
    async with mcp_server(server) as (client, received):
        await client.call_tool(_DOUBLE, {})
        server.restart()
        received.clear()
        await asyncio.gather(*(client.call_tool(_DOUBLE, {}) for _ in range(4)))

    assert [sent.method for sent in received].count("tools/call") == 8


async def test_a_server_that_is_replaced_by_a_newer_or_older_one_is_called_again() -> None:
    older = OlderServer(content)
    is_older = False

    def answer(sent: Sent) -> Response:
        if is_older:
            return older(sent)
        if "_meta" in sent.params:
            return content(sent)
        return refused(sent, -32601, status=404)

    async with mcp_server(answer) as (client, _):
        await client.call_tool(_DOUBLE, {})
        is_older = True
        await client.call_tool(_DOUBLE, {})
        is_older = False
        # This one shows that the session and the old versions are gone.
        with pytest.raises(ServerFailed):
            await client.call_tool(_DOUBLE, {})
        await client.call_tool(_DOUBLE, {})


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_on_the_same_host_is_followed_and_remembered(status: int) -> None:
    def answer(sent: Sent) -> Response:
        if sent.path == "/mcp":
            return Response(status, headers={"location": "/mcp/"})
        return content(sent)

    async with mcp_server(answer) as (client, received):
        for _ in range(2):
            await client.call_tool(_DOUBLE, {"authorization": "Bearer secret"})

    assert [sent.path for sent in received] == ["/mcp", "/mcp/", "/mcp/"]
    assert all(sent.headers["authorization"] == "Bearer secret" for sent in received)


@pytest.mark.parametrize(
    ("url", "location", "there"),
    [
        ("https://a.example/mcp", "http://a.example/mcp/", "https://a.example/mcp/"),
        ("https://a.example/mcp", "https://a.example:443/v1", "https://a.example/v1"),
        ("http://a.example:8080/mcp?k=1", "mcp/?k=1", "http://a.example:8080/mcp/?k=1"),
    ],
)
def test_a_redirect_keeps_the_scheme_and_the_host(url: str, location: str, there: str) -> None:
    assert moved(url, location) == there


@pytest.mark.parametrize(
    "location",
    ["https://b.example/mcp", "//b.example/mcp", "https://a.example:8443/mcp", "", "https://["],
)
def test_no_header_is_sent_to_another_host(location: str) -> None:
    with pytest.raises(ServerFailed) as failed:
        moved("https://a.example/mcp", location)
    assert failed.value.facts == {"fault": "redirected"}


async def test_a_server_that_redirects_in_a_circle_fails() -> None:
    async with mcp_server(lambda _: Response(307, headers={"location": "/mcp"})) as (client, seen):
        with pytest.raises(ServerFailed, match="circle"):
            await client.call_tool(_DOUBLE, {})
    assert len(seen) == 4


async def test_a_list_of_thirty_pages_is_read_to_its_end() -> None:
    def answer(sent: Sent) -> Response:
        nth = int(sent.params.get("cursor", 0))
        more = {"nextCursor": str(nth + 1)} if nth < 29 else {}
        # A page may be empty, for example without what the user may not see.
        tools = [] if nth == 7 else [{"name": f"tool{nth}"}]
        return result(sent, tools=tools, **more)

    async with mcp_server(answer) as (client, _):
        assert len(await client.list_tools({})) == 29


@pytest.mark.parametrize("moves", [False, True], ids=["the same cursor", "always a new cursor"])
async def test_a_list_that_does_not_end_is_read_once(moves: bool) -> None:
    def answer(sent: Sent) -> Response:
        nth = int(sent.params.get("cursor", 0)) + moves
        return result(sent, tools=[{"name": "a"}, {"name": "b"}], nextCursor=str(nth))

    async with mcp_server(answer) as (client, received):
        assert [tool["name"] for tool in await client.list_tools({})] == ["a", "b"]
    assert len(received) == 2


def stream(*messages: object) -> Response:
    body = b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in messages)
    return Response(headers={"content-type": "text/event-stream"}, body=body)


async def two_replies(received: list[Sent]) -> list[Sent]:
    replies: list[Sent] = []

    async def have_come() -> bool:
        replies[:] = [sent for sent in received if "method" not in sent.message]
        return len(replies) == 2

    await eventually(have_come)
    return replies


async def test_requests_on_a_calls_stream_are_answered_in_its_session() -> None:
    def answer(sent: Sent) -> Response:
        ping = {"jsonrpc": "2.0", "id": "p1", "method": "ping"}
        roots = {"jsonrpc": "2.0", "id": 2, "method": "roots/list"}
        done = {"jsonrpc": "2.0", "id": sent.message["id"], "result": {"content": []}}
        return stream(ping, roots, done)

    async with mcp_server(OlderServer(answer)) as (client, received):
        await client.call_tool(_DOUBLE, {"authorization": "Bearer secret"})
        replies = await two_replies(received)

    by_id = {sent.message["id"]: sent.message for sent in replies}
    assert by_id["p1"] == {"jsonrpc": "2.0", "id": "p1", "result": {}}
    assert by_id[2]["error"]["code"] == -32601
    assert {sent.headers["mcp-session-id"] for sent in replies} == {"s0"}
    assert {sent.headers["authorization"] for sent in replies} == {"Bearer secret"}


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
async def test_a_stream_may_have_any_line_ends_comments_and_several_lines_of_data(end: str) -> None:
    def answer(sent: Sent) -> Response:
        done = json.dumps({"jsonrpc": "2.0", "id": sent.message["id"], "result": {"ok": 1}})
        middle = done.index('"result"')
        lines = [
            "\ufeff: hello",
            "event: message",
            "data",
            "",
            f"data:{done[:middle]}",
            f"data:{done[middle:]}",
        ]
        body = end.join([*lines, "", ""]).encode()
        return Response(headers={"content-type": "text/event-stream"}, body=body)

    async with mcp_server(answer) as (client, _):
        assert await client.call_tool(_DOUBLE, {}) == {"ok": 1}


_PROBLEM = {"type": "about:blank", "title": "No", "code": "unauthorized"}


@pytest.mark.parametrize(
    ("answer", "facts"),
    [
        (lambda _: Response(401), {"fault": "unauthorized", "status": 401}),
        (lambda _: Response(403), {"fault": "unauthorized", "status": 403}),
        (lambda _: Response(429), {"fault": "http_error", "status": 429}),
        (lambda _: Response(502), {"fault": "broke_off", "status": 502}),
        # Bodies of the HTTP layer, which are no answers of MCP.
        (lambda _: Response(401, json=_PROBLEM), {"fault": "unauthorized", "status": 401}),
        (
            lambda _: Response(401, json={"error": "invalid_token"}),
            {"fault": "unauthorized", "status": 401},
        ),
        (lambda _: Response(502, json=_PROBLEM), {"fault": "broke_off", "status": 502}),
        (lambda s: refused(s, -32603), {"fault": "refused", "status": 200, "code": -32603}),
        (lambda s: Response(json={"id": s.message["id"]}), {"fault": "not_mcp", "status": 200}),
    ],
)
async def test_each_fault_of_a_server_has_a_word_of_its_own(answer: object, facts: object) -> None:
    async with mcp_server(answer) as (client, _):  # type: ignore[arg-type]  # a list of functions
        with pytest.raises(ServerFailed) as failed:
            await client.call_tool(_DOUBLE, {})
    assert failed.value.facts == facts


async def test_a_server_that_does_not_listen_was_not_called() -> None:
    async with mcp_server(content) as (client, _):
        pass
    async with mcp_server(content, path="") as (other, _):
        client._transport._http = other._transport._http  # an open session
        with pytest.raises(ServerFailed) as failed:
            await client.call_tool(_DOUBLE, {})
    assert (failed.value.fault, failed.value.may_have_run) == ("unreachable", False)


async def test_the_model_reads_why_a_server_refused_its_call_and_the_log_does_not() -> None:
    words = "Invalid arguments for tool double: n must be a number"
    async with mcp_server(lambda sent: refused(sent, -32602, words)) as (client, _):
        with pytest.raises(ServerFailed, match=words) as failed:
            await client.call_tool(_DOUBLE, {})
    assert "number" not in str(failed.value.facts)
