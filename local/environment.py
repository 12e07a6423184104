"""The user's settings: the environment, and the file `.env`, which the environment overrides."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from local import CannotStart

ROOT = Path(__file__).parent.parent
_LINE = re.compile(
    r"""(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s#]*))\s*(?:#.*)?"""
)
_LOOPBACK = "127.0.0.1,localhost"
FILE = ROOT / ".env"
#: The settings of `make dev` itself, and of the gateway.
OWN_SETTINGS = (
    *("GATEWAY_PORT", "POSTGRES_PORT", "LOCAL_FOLDER", "LOCAL_MODEL"),
    *("FASTAPI_ORIGIN_URL", "GATEWAY_SIGNING_KEY", "SWEEP_SECRET", "ALLOWED_ORIGINS"),
    *("ALLOWED_HEADERS", "MAX_BODY_BYTES", "HEADER_TIMEOUT_SECONDS"),
)


def environment(file: Path = FILE) -> dict[str, str]:
    """All variables; those of the environment override those of the file.

    Raises:
        CannotStart: a line of the file is no `NAME=value`.
    """
    set_by_file = settings_of(file)
    proxied = {**set_by_file, **os.environ}
    exceptions = ",".join(
        filter(None, [proxied.get("NO_PROXY") or proxied.get("no_proxy"), _LOOPBACK])
    )
    # Requests to this machine never go through a proxy.
    return {**proxied, "NO_PROXY": exceptions, "no_proxy": exceptions}


def settings_of(file: Path = FILE) -> dict[str, str]:
    """What a file sets; nothing if there is none. Raises as `environment` does."""
    return dict(_read(file)) if file.exists() else {}


def folder(environ: dict[str, str]) -> Path:
    """The folder of data, keys and logs: LOCAL_FOLDER, or `.local` in the checkout."""
    return Path(environ.get("LOCAL_FOLDER") or ROOT / ".local").absolute()


def port(environ: dict[str, str], name: str, default: int) -> int:
    """The port set as `name`.

    Raises:
        CannotStart: the value is no port.
    """
    text = environ.get(name) or str(default)
    if text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    raise CannotStart(f"{name}={text} is no port; set a number from 1 to 65535.")


def _read(file: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(file.read_text().splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        if not match:
            raise CannotStart(f"{file}:{number} is no NAME=value.")
        yield match[1], match[2] or match[3] or match[4] or ""
