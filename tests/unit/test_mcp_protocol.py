"""The protocol of `tools`: every body is a message or a fault, and a state belongs to one call."""

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.tools import mcp
from functions.tools.state import States
from local.keys import SigningKey
from shared.core.errors import Unauthorized
from shared.core.json import Json
from shared.core.settings import Settings

VERSION = "io.modelcontextprotocol/protocolVersion"
META = {VERSION: mcp.MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
HEADERS = {"mcp-protocol-version": mcp.MODERN, "mcp-method": "tools/call", "mcp-name": "a"}
_TEXT = st.text(max_size=8)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)
_MEMBERS = {
    "jsonrpc": st.just("2.0") | _JSON,
    "id": st.integers() | _JSON,
    "method": st.sampled_from(["tools/call", "ping"]) | _JSON,
    "params": st.fixed_dictionaries({"name": _JSON, "_meta": st.just(META) | _JSON}) | _JSON,
    "result": _JSON,
}
_MESSAGES = st.fixed_dictionaries({}, optional=_MEMBERS) | _JSON
_HEADERS = st.dictionaries(
    st.sampled_from(["mcp-protocol-version", "mcp-method", "mcp-name", "accept"]),
    st.sampled_from([mcp.MODERN, *mcp.LEGACY, "=?base64?YQ==?=", "=?base64?%?=", "a"]) | _TEXT,
)


def message(**more: Any) -> Json:
    params = {"name": "a", "_meta": META, **more.pop("params", {})}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params, **more}


def read(message: Any, **headers: str) -> mcp.Request | mcp.Reply:
    sent = {**HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return mcp.read(json.dumps(message).encode(), sent)


def request(message: Any, **headers: str) -> mcp.Request:
    found = read(message, **headers)
    assert isinstance(found, mcp.Request)
    return found


@given(st.binary(max_size=40) | _MESSAGES.map(lambda m: json.dumps(m).encode()), _HEADERS)
def test_any_body_is_a_message_or_a_fault(body: bytes, headers: dict[str, str]) -> None:
    with suppress(mcp.Fault):
        found = mcp.read(body, headers)
        if isinstance(found, mcp.Request):
            assert isinstance(found.capabilities, frozenset)
            assert not isinstance(found.progress_token, bool)


@pytest.mark.parametrize(
    ("posted", "code"),
    [
        ([message()], -32600),
        ({**message(), "jsonrpc": "1.0"}, -32600),
        ({**message(), "id": None}, -32600),
        ({**message(), "id": 1.5}, -32600),
        ({**message(), "id": True}, -32600),
        ({**message(), "method": 5}, -32600),
        ({"jsonrpc": "2.0", "id": 1, "result": {}}, -32600),
        ({"jsonrpc": "2.0", "id": "1", "result": {}}, -32600),
        ({**message(), "params": []}, -32602),
        ({**message(), "params": {"name": "a"}}, -32602),
        (message(params={"_meta": {VERSION: mcp.MODERN}}), -32602),
    ],
)
def test_a_message_that_is_not_a_request_is_a_fault(posted: Any, code: int) -> None:
    with pytest.raises(mcp.Fault) as fault:
        read(posted)
    assert (fault.value.status, fault.value.body["error"]["code"]) == (400, code)


def test_a_body_that_is_not_json_is_a_fault() -> None:
    with pytest.raises(mcp.Fault) as fault:
        mcp.read(b"{", {})
    assert fault.value.body["error"]["code"] == -32700


@pytest.mark.parametrize("header", ["mcp-protocol-version", "mcp-method", "mcp-name"])
def test_headers_that_contradict_the_body_are_a_fault(header: str) -> None:
    for value in ("", "b", "=?base64?!?="):
        with pytest.raises(mcp.Fault) as fault:
            read(message(), **{header: value})
        assert fault.value.body["error"]["code"] == -32020
    missing = {name: value for name, value in HEADERS.items() if name != header}
    with pytest.raises(mcp.Fault) as fault:
        mcp.read(json.dumps(message()).encode(), missing)
    assert fault.value.body["error"]["code"] == -32020


@pytest.mark.parametrize("name", ["=?base64?YQ==?=", " a", "a\t "])
def test_a_name_is_read_as_headers_carry_it(name: str) -> None:
    assert request(message(), mcp_name=name).params["name"] == "a"


def test_the_fault_for_an_unknown_version_lists_the_supported_ones() -> None:
    posted = message(params={"_meta": {**META, VERSION: "2099-01-01"}})
    with pytest.raises(mcp.Fault) as fault:
        read(posted, mcp_protocol_version="2099-01-01")
    error = fault.value.body["error"]
    assert (fault.value.status, error["code"]) == (400, -32022)
    assert error["data"]["requested"] == "2099-01-01"
    assert mcp.MODERN in error["data"]["supported"]


def test_each_era_has_methods_of_its_own() -> None:
    modern, older = request(message()), replace(request(message()), is_modern=False)
    for method, is_today in (("server/discover", True), ("initialize", False), ("ping", False)):
        assert replace(modern, method=method).is_known is is_today
        assert replace(older, method=method).is_known is not is_today


def test_only_a_client_that_declares_forms_has_the_capability() -> None:
    def able(declared: Json) -> frozenset[str]:
        meta = {**META, "io.modelcontextprotocol/clientCapabilities": declared}
        return request(message(params={"_meta": meta})).capabilities

    assert able({"elicitation": {}, "sampling": {}}) == {"elicitation", "sampling"}
    assert able({"elicitation": {"form": {}, "url": {}}}) == {"elicitation"}
    assert able({"elicitation": {"url": {}}}) == set()


def test_a_state_ends_with_the_approval_it_waits_for() -> None:
    now = 1_800_000_000.0
    key = SigningKey.generate("tools").private_text
    settings = Settings(internal_signing_key=key, approval_hours=1.0)
    sealed = States(settings, lambda: now).seal({"n": 1}, "user", "pay", {"euros": 5})

    assert States(settings, lambda: now + 3599).open(sealed, "user", "pay", {"euros": 5}) == {
        "n": 1
    }
    with pytest.raises(Unauthorized):
        States(settings, lambda: now + 3600).open(sealed, "user", "pay", {"euros": 5})
    with pytest.raises(Unauthorized):
        States(settings, lambda: now).open(sealed, "user", "refund", {"euros": 5})
    other = Settings(internal_signing_key=SigningKey.generate("tools").private_text)
    for strangers in (other, Settings()):
        with pytest.raises(Unauthorized):
            States(strangers, lambda: now).open(sealed, "user", "pay", {"euros": 5})


@pytest.mark.parametrize("version", ["2027-01-01", mcp.MODERN, "1.0", "2024-11-05"])
def test_a_client_of_any_version_gets_one_of_ours_in_the_handshake(version: str) -> None:
    hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize"}
    params = {"protocolVersion": version, "capabilities": {}}
    made = request({**hello, "params": params}, mcp_protocol_version=version)

    assert made.is_known
    assert mcp.initialize_result(made, {})["protocolVersion"] in mcp.LEGACY


def test_the_oldest_version_is_negotiated_and_then_spoken() -> None:
    params = {"protocolVersion": "2024-11-05", "_meta": {}}
    hello = request(message(method="initialize", params=params))
    assert mcp.initialize_result(hello, {})["protocolVersion"] == "2024-11-05"
    listed = message(method="tools/list", params={"_meta": {}})
    assert not request(listed, mcp_protocol_version="2024-11-05").is_modern
