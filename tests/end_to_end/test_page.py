"""What the stack's port serves besides the gateway: the page, and addresses for that page alone."""

import http.client
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.registry import listed_functions
from local.children import Children
from local.keys import Keys
from local.page import Page, application
from tests.fixtures.stack import Stack

OWN = {"x-playground": "1"}


def request(
    stack: Stack, method: str, path: str, host: str = "", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Send a request as any program of this machine could: with any host name, origin and header."""
    place = stack.project.removeprefix("http://")
    connection = http.client.HTTPConnection(place, timeout=20)
    connection.putrequest(method, path, skip_host=True)
    given = {"host": host or place, "content-length": "0", **headers}
    for name, value in given.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, body


def ours(stack: Stack) -> dict[str, str]:
    return {**OWN, "origin": stack.project}


def test_the_page_runs_only_what_is_its_own(stack: Stack) -> None:
    status, headers, body = request(stack, "GET", "/")

    assert status == 200
    assert b"<script type=module" in body.replace(b'"', b"")
    policy = dict(
        part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert headers["x-content-type-options"] == "nosniff"


def test_the_page_imports_the_client_that_apps_use(stack: Stack) -> None:
    status, headers, body = request(stack, "GET", "/client/agent.js")

    assert status == 200
    assert headers["content-type"].startswith("text/javascript")
    assert b"export const connect" in body


@pytest.mark.parametrize("path", ["/../page.py", "/%2e%2e/page.py", "/client/../../../README.md"])
def test_nothing_but_the_page_is_served(stack: Stack, path: str) -> None:
    assert request(stack, "GET", path)[0] in (400, 404)


def test_a_made_up_user_gets_a_token_that_the_gateway_accepts(stack: Stack) -> None:
    status, _, body = request(stack, "POST", "/local/token/alice", **ours(stack))

    assert status == 200
    token = json.loads(body)["token"]
    path = "/functions/v1/auth-gateway/assistant/runs/none"
    status, _, body = request(stack, "GET", path, authorization=f"Bearer {token}")
    assert (status, json.loads(body)["code"]) == (404, "run_not_found")


def test_the_page_gets_the_functions_with_their_health(stack: Stack) -> None:
    status, _, body = request(stack, "GET", "/local/functions", **OWN)

    assert status == 200
    functions: list[dict[str, Any]] = json.loads(body)["functions"]
    assert [one["name"] for one in functions] == listed_functions().names
    assert all(one["isReady"] and one["starts"] >= 1 for one in functions)


@pytest.mark.parametrize("path", ["/local/token/alice", "/local/functions/assistant/kill"])
@pytest.mark.parametrize(
    "change",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": ""},
        {"x-playground": ""},
        {"host": "evil.example"},
        {"host": "evil.example", "origin": "http://evil.example"},
    ],
    ids=str,
)
def test_a_request_that_is_not_of_the_page_is_refused(
    stack: Stack, path: str, change: dict[str, str]
) -> None:
    status, headers, body = request(stack, "POST", path, **{**ours(stack), **change})

    assert (status, body) == (403, b"Only this page may send this request.\n")
    assert "access-control-allow-origin" not in headers


def test_a_forwarded_host_name_does_not_count(
    stack: Stack,
) -> None:
    place = stack.project.removeprefix("http://")
    claimed = {**ours(stack), "x-forwarded-host": place}

    assert request(stack, "POST", "/local/token/alice", host="evil.example", **claimed)[0] == 403


async def test_the_pages_own_port_answers_to_the_front_only(tmp_path: Path) -> None:
    page = Page(Keys.of(tmp_path / "keys.json"), "", Children(tmp_path), {})
    app = application(page, own_port=1001, public_port=1002)
    by = {"x-forwarded-host": "127.0.0.1:1002"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        assert (await client.get("http://127.0.0.1:1001/", headers=by)).status_code == 200
        assert (await client.get("http://evil.example:1001/", headers=by)).status_code == 403
        assert (await client.get("http://127.0.0.1:1001/")).status_code == 403


def test_a_page_elsewhere_does_not_read_the_functions_by_a_name_of_its_own(stack: Stack) -> None:
    assert request(stack, "GET", "/local/functions", host="evil.example:54321", **OWN)[0] == 403
    assert request(stack, "GET", "/local/functions")[0] == 403


def test_only_the_made_up_users_and_the_functions_are_known(stack: Stack) -> None:
    assert request(stack, "POST", "/local/token/root", **ours(stack))[0] == 404
    assert request(stack, "POST", "/local/functions/postgres/kill", **ours(stack))[0] == 404


def test_the_page_gets_the_model_and_the_runs_of_each_function(stack: Stack) -> None:
    assert json.loads(request(stack, "GET", "/local/model", **ours(stack))[2]) == {"standIn": ""}
    shown = json.loads(request(stack, "GET", "/local/functions", **ours(stack))[2])["functions"]
    assert {one["name"]: one["liveRuns"] for one in shown} == dict.fromkeys(
        listed_functions().names, 0
    )


async def test_the_page_knows_the_stand_in_of_a_model(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        children.start("echo", ["sleep", "60"], env={})
        page = Page(Keys.of(tmp_path / "keys.json"), "", children, {})
        app = application(page, own_port=1001, public_port=1002)
        by = {**OWN, "x-forwarded-host": "127.0.0.1:1002"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            answer = await client.get("http://127.0.0.1:1001/local/model", headers=by)
    assert answer.json() == {"standIn": "echo"}
