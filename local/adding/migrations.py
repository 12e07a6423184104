"""Which migrations an app lacks, and the names and versions under which they become part of its history."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from local.adding.app import MIGRATIONS, App, CannotAdd, fingerprint
from local.database.history import CREATES_SCHEMA, DROPS_SCHEMA, PREFIX

#: As the Supabase CLI reads them.
_FILE: Final = re.compile(r"(\d+)_(.*)\.sql")
_VERSION: Final = "%Y%m%d%H%M%S"


@dataclass(frozen=True)
class Migration:
    """A migration's file. The CLI applies them in the order of their versions, compared as text."""

    file: Path
    version: str
    name: str

    @property
    def content(self) -> bytes:
        return self.file.read_bytes()

    def contains(self, statement: re.Pattern[str]) -> bool:
        return bool(statement.search(self.content.decode(errors="replace")))


@dataclass(frozen=True)
class Copies:
    """The files to create, by their paths, and the app's files that are as we ship them."""

    new: Mapping[Path, bytes]
    left: list[Path]


class History:
    """An app's migrations since it last dropped schema agent, apart by whose they are."""

    def __init__(self, app: App, names: Iterable[str]) -> None:
        found = read_migrations(app)
        self._our_names = {PREFIX + name for name in names}
        drops = [m.version for m in found if not self._is_ours(m) and m.contains(DROPS_SCHEMA)]
        self.was_dropped = bool(drops)
        current = [m for m in found if m.version > max(drops, default="")]
        self.ours = {m.name.removeprefix(PREFIX): m for m in current if self._is_ours(m)}
        self.last_version = max((m.version for m in found), default="")
        declared = [Migration(file, "", "") for file in sorted(app.folder.glob("schemas/**/*.sql"))]
        theirs = [m for m in current if not self._is_ours(m)]
        #: The app's own file that creates schema agent: a squashed history, or a schema that is not ours.
        self.creator = next(
            (m.file for m in (*theirs, *declared) if m.contains(CREATES_SCHEMA)), None
        )

    def _is_ours(self, migration: Migration) -> bool:
        return migration.name in self._our_names


def read_migrations(app: App) -> list[Migration]:
    """The migrations of a folder in their order."""
    matches = ((file, _FILE.fullmatch(file.name)) for file in app.migrations.glob("*.sql"))
    found = [Migration(file, match[1], match[2]) for file, match in matches if match]
    return sorted(found, key=lambda migration: migration.version)


def plan_copies(app: App, ours: App, shipped: Mapping[str, str], now: datetime) -> Copies:
    """Compare an app's migrations with ours; `shipped` has the fingerprints of those that it got before.

    Raises:
        CannotAdd: schema agent is the app's own, the app is newer than this checkout, or a migration that it has was
            edited or is missing.
    """
    source = {migration.name: migration for migration in read_migrations(ours)}
    history = History(app, {*source, *shipped})
    if history.was_dropped and not history.ours:
        shipped = {}
    if newer := sorted(shipped.keys() - source.keys()):
        raise CannotAdd(
            f"The app has the migration {PREFIX}{newer[0]} of a later release; update this checkout."
        )
    if history.creator and not shipped:
        raise CannotAdd(
            f"{history.creator.relative_to(app.folder)} creates a schema agent of the app's own; rename that schema."
        )
    lacking = [m for m in source.values() if _is_lacking(m, history, shipped)]
    versions = next_versions(history.last_version, now, len(lacking))
    names = [f"{v}_{PREFIX}{m.name}.sql" for v, m in zip(versions, lacking, strict=True)]
    new = {app.migrations / name: m.content for name, m in zip(names, lacking, strict=True)}
    return Copies(new, [m.file for m in history.ours.values()])


def _is_lacking(migration: Migration, history: History, shipped: Mapping[str, str]) -> bool:
    if copy := history.ours.get(migration.name):
        _check_copy(migration, copy, shipped)
        return False
    if migration.name not in shipped:
        return True
    if history.creator:
        # `supabase migration squash` made one file of all.
        return False
    raise CannotAdd(
        f"The app's migration {PREFIX}{migration.name} is missing; restore it from the app's repository."
    )


def _check_copy(migration: Migration, copy: Migration, shipped: Mapping[str, str]) -> None:
    found = fingerprint(copy.content)
    if found == fingerprint(migration.content):
        return
    if found == shipped.get(migration.name):
        raise CannotAdd(
            f"{migration.file.name} of this checkout was changed since the app got it: start over as docs/deploy.md"
            " describes, which deletes all threads and runs."
        )
    raise CannotAdd(
        f"{MIGRATIONS}/{copy.file.name} was edited in the app; restore it, and put the change into a migration of its"
        " own."
    )


def next_versions(last: str, now: datetime, count: int) -> list[str]:
    """Versions one second apart: after the app's last one, and up to now.

    None is in the future if the app's own are not: the next migration that its developer makes comes after them.

    Raises:
        CannotAdd: no time comes after the last one.
    """
    first = now.astimezone(UTC) - timedelta(seconds=max(count - 1, 0))
    try:
        if last >= first.strftime(_VERSION):
            first = _time_of(last) + timedelta(seconds=1)
        return [(first + timedelta(seconds=n)).strftime(_VERSION) for n in range(count)]
    except OverflowError:
        raise CannotAdd(
            f"The app's last migration has the version {last}, after which no time comes; rename it to a time in the"
            " past."
        ) from None


def _time_of(version: str) -> datetime:
    try:
        time = datetime.strptime(version, _VERSION).replace(tzinfo=UTC)
        if time.strftime(_VERSION) == version:
            return time
    except ValueError:
        pass
    raise CannotAdd(
        f"The app's last migration has the version {version}, which is no time; rename it to a time in the past."
    )
