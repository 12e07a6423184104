"""Installs packages that a test talks to and that the bundle does not have, once for each list of them."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from local.environment import ROOT
from tests.gateway.door import unavailable


def installed(listing: Path, command: Callable[[Path], list[str]], kind: str = "mcp") -> Path:
    """The folder with the packages of this list. `command` installs them into the folder it gets."""
    version = hashlib.sha256(listing.read_bytes()).hexdigest()[:8]
    folder = ROOT / ".local" / f"{kind}-{version}"
    if not folder.exists():
        _install(listing, command, folder)
    return folder


def _install(listing: Path, command: Callable[[Path], list[str]], folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    shutil.copy(listing, draft)
    with suppress(subprocess.SubprocessError):
        subprocess.run(command(draft), capture_output=True, timeout=300, check=True)
        # Of two concurrent installations the first wins.
        with suppress(OSError):
            draft.rename(folder)
    shutil.rmtree(draft, ignore_errors=True)
    if not folder.exists():
        unavailable(f"the packages of {listing.name} could not be installed")


def by_npm(folder: Path) -> list[str]:
    """Into the `node_modules` of a folder that has the package.json."""
    npm = shutil.which("npm") or unavailable("npm is not installed")
    options = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
    return [npm, "install", "--prefix", str(folder), *options]


def by_pip(folder: Path) -> list[str]:
    """Into a folder that has the requirements.txt, for PYTHONPATH."""
    options = ["--quiet", "--disable-pip-version-check", "--target", str(folder)]
    return [
        sys.executable,
        "-m",
        "pip",
        "install",
        *options,
        "-r",
        str(folder / "requirements.txt"),
    ]
