"""Reads the files of the migrations, statement by statement."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local import CannotStart
from local.environment import ROOT

MIGRATIONS = ROOT / "supabase" / "migrations"
_FILE = re.compile(r"(\d+)_(\w+)\.sql")
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
#: Comments, strings and dollar quotes, which may contain semicolons; or a semicolon that ends a statement.
_PIECE = re.compile(
    r"""--[^\n]*|/\*.*?\*/|\be'(?:[^'\\]|\\.|'')*'|'[^']*'|"[^"]*"|\$(\w*)\$.*?\$\1\$|;""",
    re.DOTALL | re.IGNORECASE,
)


@dataclass(frozen=True)
class Statement:
    """One statement of a file, and its first line."""

    text: str
    line: int


@dataclass(frozen=True)
class Migration:
    """A migration file; `version` defines the order."""

    file: Path
    version: str
    name: str
    statements: list[Statement]

    @property
    def texts(self) -> list[str]:
        return [statement.text for statement in self.statements]


def read_migrations(folder: Path) -> list[Migration]:
    """The migrations of a folder in their order.

    Raises:
        CannotStart: a file is not named as a migration.
    """
    migrations = []
    for file in sorted(folder.glob("*.sql")):
        match = _FILE.fullmatch(file.name)
        if not match:
            raise CannotStart(f"{file} is not named as a migration: <version>_<name>.sql.")
        texts = [*statements(file.read_text())]
        migrations.append(Migration(file, match[1], match[2], texts))
    return migrations


def statements(sql: str) -> Iterator[Statement]:
    """Split SQL at the semicolons that end a statement. Comments stay with the statement after them."""
    start = 0
    for piece in _PIECE.finditer(sql):
        if piece[0] == ";":
            yield from _statement(sql, start, piece.start())
            start = piece.end()
    yield from _statement(sql, start, len(sql))


def _statement(sql: str, start: int, end: int) -> Iterator[Statement]:
    text = sql[start:end].strip()
    if _COMMENT.sub("", text).strip():
        yield Statement(text, sql.count("\n", 0, sql.index(text, start)) + 1)
