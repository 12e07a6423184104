"""Whether schema agent is as the migrations of this checkout make it, whichever versions a project records."""

import re
from collections.abc import Sequence
from pathlib import Path

from local.database.connecting import Connection
from local.database.files import Migration

_PARTS = Path(__file__).with_suffix(".sql")
#: A function of a migration, with its source, as pg_proc has it: none if its body is not a string.
_FUNCTION = re.compile(
    r"^create (?:or replace )?function agent\.(\w+)(?:.*?\bas \$\$(.*)\$\$)?",
    re.DOTALL | re.MULTILINE,
)
_TABLE = re.compile(r"^create table agent\.(\w+)", re.MULTILINE)


async def difference(connection: Connection, migrations: Sequence[Migration]) -> str | None:
    """The name of a table or function of schema agent that is missing or differs; None if all are as expected."""
    found = {row["part"] for row in await connection.fetch(_PARTS.read_text())}
    lacking = _expected(migrations) - found
    return min(lacking).partition("|")[0] if lacking else None


def _expected(migrations: Sequence[Migration]) -> set[str]:
    """The tables that the migrations make, and the functions, as `<name>|<source>`."""
    parts: set[str] = set()
    sources: dict[str, str] = {}
    for migration in migrations:
        for text in migration.texts:
            parts |= {*_TABLE.findall(text)}
            # A later migration may replace a function.
            sources |= dict(_FUNCTION.findall(text))
    return parts | {f"{name}|{source}" for name, source in sources.items()}
