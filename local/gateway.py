"""The gateway as a local process: the Edge Function's code on Deno."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from functions.registry import variable_of
from local import CannotStart
from local.accounts import SUPABASE_URL
from local.environment import ROOT
from local.keys import Keys

#: The path of Edge Functions on a local Supabase, too.
PATH = "/functions/v1/auth-gateway"
_EDGE = ROOT / "supabase" / "functions" / "auth-gateway"
#: The same code with the page on the same port; PAGE_URL is the page's server.
FRONT = ROOT / "local" / "front.ts"
_BROWSER_ORIGINS = (
    "http://127.0.0.1:3000,http://localhost:3000,http://127.0.0.1:5173,http://localhost:5173"
)


def find_deno() -> str:
    """Deno's path: the wheel's, beside this Python, or the machine's.

    Raises:
        CannotStart: there is none.
    """
    own = Path(sys.executable).parent / "deno"
    deno = str(own) if own.exists() else shutil.which("deno")
    if deno:
        return deno
    raise CannotStart("Deno is not installed: run `make dev`.")


def command(entry: Path = _EDGE / "index.ts") -> list[str | Path]:
    """The command that runs the gateway, with network access to this machine only."""
    return [
        find_deno(),
        "run",
        "--no-prompt",
        "--no-lock",
        "--allow-net=127.0.0.1",
        "--allow-env",
        "--config",
        _EDGE / "deno.json",
        entry,
    ]


def settings(
    keys: Keys, environ: Mapping[str, str], port: int, functions: Mapping[str, int]
) -> dict[str, str]:
    """The gateway's environment; `functions`: the ports of the local functions."""
    origins = {
        f"FASTAPI_ORIGIN_URL_{variable_of(name)}": f"http://127.0.0.1:{at}"
        for name, at in functions.items()
    }
    return {
        "ALLOWED_ORIGINS": _BROWSER_ORIGINS,
        **environ,
        **origins,
        # Functions that do not run here get an address that resolves to nothing.
        "FASTAPI_ORIGIN_URL": "http://{function}.invalid",
        "GATEWAY_SIGNING_KEY": keys.gateway.private_text,
        "SUPABASE_URL": SUPABASE_URL,
        "SUPABASE_JWKS": keys.user.public_keys,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "DENO_NO_UPDATE_CHECK": "1",
        "NO_COLOR": "1",
    }
