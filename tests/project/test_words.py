"""The words of docs/glossary.md, and the dialect that they replaced."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Recorded streams (.sse) and golden data (.json) are not prose.
TEXT = {
    ".py",
    ".sql",
    ".md",
    ".ts",
    ".js",
    ".mjs",
    ".yaml",
    ".toml",
    ".css",
    ".html",
    ".svg",
    ".env",
    "",
}
#: Words of the first draft's dialect, and what to write instead.
BANNED = {
    r"asked|asking": "request, query, question",
    r"told": "show, report, send",
    r"begun": "start",
    r"whoever|somebody": "name the process, the user or the caller",
    r"goes[ _]on|go[ _]on|went[ _]on": "continue",
    r"gives?[ _]back|given[ _]back|gave[ _]back": "release, return",
    r"takes?[ _]up|taken[ _]up|took[ _]up": "claim, execute",
}


def texts() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [ROOT / name for name in names if Path(name).suffix in TEXT and (ROOT / name).is_file()]


@pytest.mark.parametrize("path", texts(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_has_none_of_the_banned_words(path: Path) -> None:
    if path == Path(__file__):
        return
    text = path.read_text(errors="replace")
    for words, instead in BANNED.items():
        for found in re.finditer(rf"(?<![a-z])(?:{words})(?![a-z])", text, re.IGNORECASE):
            line = text.count("\n", 0, found.start()) + 1
            pytest.fail(f"{path.name}:{line}: {found[0]!r}; write: {instead}")
