"""The MCP servers of an operator and their policies: our own function `tools`, and those of MCP_SERVERS.

A foreign server's hints about its tools are claims, not policy: only the operator can make its tools repeatable or
exempt them from approval.
"""

import re
from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any, get_args
from urllib.parse import urlsplit

import orjson

from shared.agents import Approval
from shared.core import InvalidSettings, ToolSettings

OURS = "tools"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}\Z")
_SECRET = re.compile(r"\$\{([A-Z0-9_]+)\}")
_MEMBERS = {"url", "headers", "tools", "approval", "repeatable"}
#: The members that apply to our own function, whose address and hints are known.
_OUR_MEMBERS = {"tools", "approval"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One MCP server. `tools`: the tools to use (None: all). `approval`: by tool, with `*` for the others."""

    name: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tools: frozenset[str] | None = None
    approval: Mapping[str, Approval] = field(default_factory=dict)
    repeatable: frozenset[str] = frozenset()

    @property
    def is_ours(self) -> bool:
        return self.name == OURS

    def limited_to(self, tools: Collection[str]) -> "Server":
        """The same server, with no other tools than these; without names, with all it has."""
        if not tools:
            return self
        return replace(self, tools=frozenset(tools) & (self.tools or frozenset(tools)))

    def policy_of(self, tool: str) -> Approval | None:
        """The operator's policy for a tool, or for all tools; None without one."""
        return self.approval.get(tool) or self.approval.get("*")

    def approval_of(self, tool: str) -> Approval:
        return self.policy_of(tool) or "ask"


def servers_of(settings: ToolSettings) -> list[Server]:
    """All servers of these settings, ours first.

    Raises:
        InvalidSettings: MCP_SERVERS is not as docs/configuration.md describes it.
    """
    try:
        configured = orjson.loads(settings.mcp_servers or "{}")
    except orjson.JSONDecodeError:
        raise InvalidSettings("MCP_SERVERS is not JSON.") from None
    if not isinstance(configured, dict):
        raise InvalidSettings("MCP_SERVERS must be an object: a name and its server.")
    policy = configured.pop(OURS, {})
    _check_members(OURS, policy, _OUR_MEMBERS)
    ours = _server(OURS, {**policy, "url": settings.tools_url}, {}) if settings.tools_url else None
    others = [_server(name, value, settings.mcp_secrets) for name, value in configured.items()]
    return [ours, *others] if ours else others


def _check_members(name: str, value: Any, members: Set[str]) -> None:
    if not isinstance(value, dict) or value.keys() - members:
        raise InvalidSettings(f"MCP_SERVERS: {name} has the members {', '.join(sorted(members))}.")


def _server(name: str, value: Any, secrets: Mapping[str, str]) -> Server:
    if not _NAME.match(name):
        raise InvalidSettings(f"MCP_SERVERS: {name[:40]!r} cannot be a server's name.")
    _check_members(name, value, _MEMBERS)
    url = value.get("url")
    if not isinstance(url, str) or not _is_http(url):
        raise InvalidSettings(f"MCP_SERVERS: {name} needs a url.")
    tools, repeatable = value.get("tools"), value.get("repeatable", [])
    if not _are_texts(repeatable) or not (tools is None or _are_texts(tools)):
        raise InvalidSettings(f"MCP_SERVERS: tools and repeatable of {name} are lists of names.")
    return Server(
        name=name,
        url=url,
        headers=_headers(name, value.get("headers", {}), secrets),
        tools=None if tools is None else frozenset(tools),
        approval=_approval(name, value.get("approval", {})),
        repeatable=frozenset(repeatable),
    )


def _is_http(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("http", "https")
    except ValueError:
        return False


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _approval(name: str, value: Any) -> Mapping[str, Approval]:
    policy = {"*": value} if isinstance(value, str) else value
    words = get_args(Approval)
    if not isinstance(policy, dict) or any(word not in words for word in policy.values()):
        raise InvalidSettings(f"MCP_SERVERS: approval of {name} is {', '.join(words)}, by tool.")
    return policy


def _headers(name: str, value: Any, secrets: Mapping[str, str]) -> Mapping[str, str]:
    if not isinstance(value, dict) or not _are_texts([*value.values()]):
        raise InvalidSettings(f"MCP_SERVERS: headers of {name} are texts.")
    return {header: _resolve(name, text, secrets) for header, text in value.items()}


def _resolve(name: str, text: str, secrets: Mapping[str, str]) -> str:
    """Replace each `${NAME}` by the environment variable MCP_SECRET_NAME."""

    def secret(match: re.Match[str]) -> str:
        if match[1] not in secrets:
            raise InvalidSettings(f"MCP_SERVERS: {name} needs MCP_SECRET_{match[1]}.")
        return secrets[match[1]]

    return _SECRET.sub(secret, text)
