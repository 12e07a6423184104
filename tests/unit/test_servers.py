"""The setting MCP_SERVERS, and the errors for invalid entries."""

import json
from typing import Any

import pytest

from shared.core.environment import InvalidSettings
from shared.core.settings import Settings
from shared.mcp.servers import Server, servers_of

URL = "https://mcp.example.com/mcp"


def named(value: Any, **more: Any) -> list[Server]:
    text = value if isinstance(value, str) else json.dumps(value)
    return servers_of(Settings(mcp_servers=text, **more))


def test_a_server_has_the_members_of_its_entry() -> None:
    (server,) = named(
        {
            "crm": {
                "url": URL,
                "headers": {"authorization": "Bearer ${KEY}"},
                "approval": {"find": "never"},
                "repeatable": ["find"],
            }
        },
        mcp_secrets={"KEY": "canary"},
    )

    assert server.headers == {"authorization": "Bearer canary"}
    assert "canary" not in repr(server)
    assert (server.approval_of("find"), server.approval_of("wipe")) == ("never", "ask")
    assert server.repeatable == {"find"}


def test_our_own_tools_need_no_entry_and_take_a_policy() -> None:
    ours = {"tools_url": "http://tools/mcp"}

    assert [server.name for server in named("", **ours)] == ["tools"]
    (server,) = named({"tools": {"approval": {"add_note": "edit"}, "tools": ["add_note"]}}, **ours)
    assert (server.url, server.is_ours) == ("http://tools/mcp", True)
    assert server.approval == {"add_note": "edit"}
    assert server.tools == frozenset({"add_note"})
    assert named({"tools": {"approval": "ask"}}) == [], (
        "without the function its entry has no effect"
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "is not JSON"),
        ([], "must be an object"),
        ({"Odd name": {"url": URL}}, "cannot be a server's name"),
        ({"crm": URL}, "has the members"),
        ({"crm": {"url": URL, "aproval": "ask"}}, "has the members"),
        ({"crm": {}}, "needs a url"),
        ({"crm": {"url": "file:///etc/passwd"}}, "needs a url"),
        ({"crm": {"url": URL, "tools": "find"}}, "lists of names"),
        ({"crm": {"url": URL, "approval": "sometimes"}}, "approval of crm"),
        ({"crm": {"url": URL, "headers": {"a": 1}}}, "headers of crm"),
        ({"crm": {"url": URL, "headers": {"a": "${GONE}"}}}, "needs MCP_SECRET_GONE"),
        ({"tools": {"url": URL}}, "tools has the members approval, tools"),
        ({"tools": []}, "tools has the members"),
    ],
)
def test_an_invalid_entry_is_refused_by_its_name(value: Any, message: str) -> None:
    with pytest.raises(InvalidSettings, match=message):
        named(value, tools_url="http://tools/mcp")
