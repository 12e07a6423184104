"""The real Supabase CLI, which npm brings. No command here needs Docker or an account."""

import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.conformance.installing import by_npm, installed

_PACKAGE = Path(__file__).with_name("package.json")


@cache
def program() -> Path:
    """Installed once for each package.json."""
    return installed(_PACKAGE, by_npm, "supabase") / "node_modules/.bin/supabase"


@dataclass(frozen=True)
class Cli:
    """The CLI in an app's root, with this database as its target."""

    root: Path
    url: str = ""

    def run(self, *arguments: str) -> str:
        """The output; fails if the command does."""
        done = self.attempt(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def attempt(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(program()), *arguments],
            cwd=self.root,
            env={"PATH": os.environ["PATH"], "HOME": str(self.root), "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def push(self) -> list[str]:
        """Apply what the database lacks; returns the files' names."""
        output = self.run("db", "push", f"--remote={self.url}", "--yes")
        lines = output.splitlines()
        return [line.split()[-1].removesuffix("...") for line in lines if "Applying" in line]

    def history(self) -> list[tuple[str, str]]:
        """Each version of the app's folder, and the same if the database has it."""
        rows = self.run("migration", "list", f"--remote={self.url}").splitlines()
        cells = [[cell.strip(" `") for cell in row.split("|")] for row in rows if "|" in row]
        return [(local, remote) for local, remote, _ in cells if (local + remote).isdecimal()]
