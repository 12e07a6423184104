"""The function `tools` of the bundle, for a developer with an MCP client on this machine."""

import os
import subprocess
import sys
from pathlib import Path

import httpx

from local.accounts import SignIn, sign_in
from local.environment import ROOT
from local.keys import Keys
from shared.auth.callers import CallerVerifier, Minter
from tests.fixtures.stack import Stack

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


def test_the_bundle_lists_its_tools_for_a_caller_with_a_functions_token(stack: Stack) -> None:
    who = SignIn("ann", role="admin")
    sign_in(who, stack.running.owner_url)
    token = Minter("local", stack.keys.internal.private_text).mint("tools", who.claims, None)

    url = stack.running.tools_url
    listed = httpx.post(url, json=LIST, headers={"authorization": f"Bearer {token}"})
    refused = httpx.post(url, json=LIST, headers={"authorization": f"Bearer {stack.token()}"})

    names = [tool["name"] for tool in listed.json()["result"]["tools"]]
    assert "admin_diagnostics" in names
    assert "add_note" in names
    assert refused.status_code == 401
    assert refused.headers["content-type"] == "application/problem+json"


def test_the_command_prints_a_token_that_tools_accepts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "local", "token", "--audience", "tools", "--role", "admin"]
    environ = {**os.environ, "LOCAL_FOLDER": str(tmp_path), "SUPABASE_DATABASE_URL": ""}
    printed = subprocess.run(
        command, env=environ, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )

    keys = Keys.of(tmp_path / "keys.json").internal.public_keys
    caller = CallerVerifier(function="tools", keys=keys).verify(
        [f"Bearer {printed.stdout.strip()}"]
    )
    assert caller.function == "local"
    assert caller.run_id is None
    assert str(caller.user.sub) == str(SignIn("alice").sub)
    metadata = caller.claims["app_metadata"]
    assert isinstance(metadata, dict)
    assert metadata["role"] == "admin"
