"""The gateway as a local program: the Edge Function's own code, on Deno."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from local import CannotStart
from local.accounts import SUPABASE_URL
from local.environment import ROOT
from local.keys import Keys

#: Supabase's own local address shape.
PATH = "/functions/v1/auth-gateway"
_EDGE = ROOT / "supabase" / "functions" / "auth-gateway"
#: The same code, with the page beside it: PAGE_URL says where that is.
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
    raise CannotStart("Deno is not installed: run `make bootstrap`.")


def command(entry: Path = _EDGE / "index.ts") -> list[str | Path]:
    """What runs the gateway, allowed to reach this machine only."""
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
    """The gateway's environment; `functions` are the ports of those that run here."""
    origins = {
        f"FASTAPI_ORIGIN_URL_{name.upper()}": f"http://127.0.0.1:{at}"
        for name, at in functions.items()
    }
    return {
        "ALLOWED_ORIGINS": _BROWSER_ORIGINS,
        **environ,
        **origins,
        # A function that does not run here has an address that leads nowhere.
        "FASTAPI_ORIGIN_URL": "http://{function}.invalid",
        "GATEWAY_SIGNING_KEY": keys.gateway.private_text,
        "SUPABASE_URL": SUPABASE_URL,
        "SUPABASE_JWKS": keys.user.public_keys,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "DENO_NO_UPDATE_CHECK": "1",
        "NO_COLOR": "1",
    }
