"""Our migrations in the history of an app: `add-to` copied them there, under versions and names of the app's own."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

#: Before the name of each of our migrations in an app.
PREFIX: Final = "agent_"
_SCHEMA: Final = r"""(?:"agent"|agent(?![\w$-]))"""
_FLAGS: Final = re.IGNORECASE | re.MULTILINE
CREATES_SCHEMA: Final = re.compile(
    rf"(?:^|;)\s*create\s+schema\s+(?:if\s+not\s+exists\s+)?{_SCHEMA}", _FLAGS
)
DROPS_SCHEMA: Final = re.compile(rf"(?:^|;)\s*drop\s+schema\s+(?:if\s+exists\s+)?{_SCHEMA}", _FLAGS)
#: What the Supabase CLI and we may record differently.
_INSIGNIFICANT: Final = re.compile(r"--[^\n]*|/\*.*?\*/|[\s;]+", re.DOTALL)


@dataclass(frozen=True)
class Record:
    """A migration that a database applied, as supabase_migrations.schema_migrations has it."""

    version: str
    name: str | None
    statements: Sequence[str]

    def contains(self, statement: re.Pattern[str]) -> bool:
        return any(statement.search(text) for text in self.statements)


def records_of_app(
    records: Sequence[Record], names: Collection[str], versions: Collection[str]
) -> dict[str, Record]:
    """Our migrations that an app applied since it last dropped schema agent, by our names; empty if it has none.

    `records` are in the order of their versions. `names` and `versions` are those of this checkout.
    """
    found: dict[str, Record] = {}
    for record in since_drop(records):
        name = (record.name or "").removeprefix(PREFIX)
        if name != record.name and name in names and record.version not in versions:
            found[name] = record
    return found if any(record.contains(CREATES_SCHEMA) for record in found.values()) else {}


def since_drop(records: Sequence[Record]) -> Sequence[Record]:
    """The migrations after the last one that drops schema agent, and that one if it makes it again; else all."""
    drops = [place for place, record in enumerate(records) if record.contains(DROPS_SCHEMA)]
    if not drops:
        return records
    makes_again = records[drops[-1]].contains(CREATES_SCHEMA)
    return records[drops[-1] + (0 if makes_again else 1) :]


def why_app_is_outdated(found: Mapping[str, Record], texts: Mapping[str, str]) -> str | None:
    """A sentence with the remedy if an app lacks a migration or applied another form of it; else None.

    `texts` has the SQL of each of our migrations.
    """
    for name, text in texts.items():
        if name not in found:
            return (
                f"The app of this database lacks the migration {name}: run `python -m functions add-to` with the app's"
                " folder, then `supabase migration up` there."
            )
        if _essence(";".join(found[name].statements)) != _essence(text):
            return (
                f"The migration {name} was changed after the app of this database applied it: start over as"
                " docs/deploy.md describes, which deletes all threads and runs."
            )
    return None


def _essence(sql: str) -> str:
    return _INSIGNIFICANT.sub("", sql)
