"""The gateway as a process on either Deno, and the requests of callers."""

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
from typing import NoReturn

import pytest

from shared.auth.identity import Verifier
from tests.gateway.upstream import caller
from tests.golden.attacks import user
from tests.golden.signing import Keyring, mint

ROOT = Path(__file__).parents[2]
FUNCTIONS = ROOT / "supabase" / "functions"
GATEWAY = FUNCTIONS / "auth-gateway"
GOLDEN = json.loads((ROOT / "tests" / "golden" / "tokens.json").read_text())
KEYRING = Keyring(GOLDEN["private_keys"])
#: What `supabase gen signing-key` writes into a key beside what JWS needs.
_OF_THE_CLI = {"use": "sig", "key_ops": ["sign", "verify"], "ext": True}
# The version of Supabase's edge, and the current version for local use.
EDGE_DENO = "2.1.4"
BASE = "/functions/v1/auth-gateway/assistant"


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


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail it in CI, where no test may be skipped."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def environment(**changes: str) -> dict[str, str]:
    return {
        **{name: os.environ[name] for name in ("HOME", "PATH", "DENO_DIR") if name in os.environ},
        "NO_COLOR": "1",
        "FASTAPI_ORIGIN_URL": "http://{function}.invalid",
        "SUPABASE_URL": GOLDEN["issuer"].removesuffix("/auth/v1"),
        "SUPABASE_JWKS": json.dumps(GOLDEN["jwks"]),
        "GATEWAY_SIGNING_KEY": json.dumps({**GOLDEN["gateway_signing_key"], **_OF_THE_CLI}),
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


def verifier() -> Verifier:
    """The verifier of the function `assistant` behind the gateway."""
    return Verifier(
        function="assistant",
        issuer=GOLDEN["issuer"],
        gateway_keys=json.dumps(GOLDEN["gateway_jwks"]),
        jwks=json.dumps(GOLDEN["jwks"]),
        jwks_url="",
        legacy_secret=None,
    )


async def answer(port: int, sent: bytes) -> int:
    async with caller(port) as client:
        await client.say(sent)
        status, _ = await client.head()
        return status
