"""Checks of Postgres: the address, the login, its rights, the pooler, the migrations."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from shared.core import DatabaseSettings, Unavailable
from shared.database import (
    Database,
    Facts,
    read_address,
    read_facts,
    shares_servers,
    why_unreachable,
)
from shared.doctor.checks import Check, Failed

#: The functions of the schema that this version calls; a test compares. One that is missing means that a migration is.
CALLED: Final = frozenset(
    [
        "append_events",
        "audit_call",
        "cache_weather",
        "cached_weather",
        "cancel_run",
        "claim_run",
        "clear_dispatches",
        "create_thread",
        "delete_note",
        "delete_thread",
        "diagnose",
        "erase_user",
        "export_rows",
        "export_thread",
        "export_user",
        "find_run",
        "free_call_slot",
        "late_leases",
        "limit_usage",
        "list_events",
        "list_items",
        "list_notes",
        "list_runs",
        "list_threads",
        "mark_dispatched",
        "poll_runs",
        "prune",
        "read_snapshot",
        "read_thread",
        "read_tool_lists",
        "refuse_run",
        "release_runs",
        "remove_erased",
        "search_notes",
        "search_threads",
        "start_run",
        "store_tool_list",
        "sweep_runs",
        "take_call_slot",
        "tokens_left",
        "unheld_runs",
        "update_thread",
        "write_note",
    ]
)
_LOGIN: Final = "database login"
_MIGRATE: Final = "apply supabase/migrations (docs/deploy.md, step 1)"


@dataclass(slots=True)
class DatabaseChecks:
    """The checks of one database. The login's check reads the facts that the later ones look at."""

    settings: DatabaseSettings
    _database: Database = field(init=False)
    _facts: Facts = field(init=False)

    def checks(self) -> Iterator[Check]:
        address, schema = "database address", "database schema"
        yield Check(name=address, run=self._read_address)
        yield Check(name=_LOGIN, run=self._log_in, needs=address)
        yield Check(name="database pooler", run=self._find_pooler, needs=_LOGIN)
        yield Check(name=schema, run=self._find_schema, needs=_LOGIN)
        yield Check(name="database rights", run=self._compare_rights, needs=schema)

    async def close(self) -> None:
        if hasattr(self, "_database"):
            await self._database.close()

    async def _read_address(self) -> str:
        if not self.settings.supabase_database_url:
            raise Failed("set SUPABASE_DATABASE_URL; docs/deploy.md, step 2, says to what.")
        ignored = read_address(self.settings.supabase_database_url).ignored
        self._database = Database(self.settings)
        return f"without {', '.join(ignored)}, which change nothing here" if ignored else ""

    async def _log_in(self) -> str:
        try:
            self._facts = await read_facts(self._database)
        except Unavailable as error:
            raise Failed(f"{why_unreachable(error.__cause__)}.") from None
        if self._facts.is_read_only:
            raise Failed("this server is a replica: use the address of the primary.")
        return f"as {self._facts.login}"

    async def _find_pooler(self) -> str:
        prepares = read_address(self.settings.supabase_database_url).prepares
        if not await shares_servers(self._database):
            how = "prepared statements" if prepares else "no prepared statements"
            return f"one server for each connection, {how}"
        if prepares:
            raise Failed(
                "this is a pooler in transaction mode, which may lose prepared statements: add ?pgbouncer=true to"
                " SUPABASE_DATABASE_URL, or use port 6543."
            )
        return "transaction mode, no prepared statements"

    async def _find_schema(self) -> str:
        functions = set(self._facts.functions)
        if not functions:
            raise Failed(f"schema agent is missing: {_MIGRATE}.")
        if missing := CALLED - functions:
            raise Failed(
                f"function agent.{min(missing)} is missing, so the migrations are older than this version: {_MIGRATE}."
            )
        return f"{len(functions)} functions"

    async def _compare_rights(self) -> str:
        login = self._facts.login
        if not self._facts.may_act:
            raise Failed(f"{login} may not become authenticated: grant authenticated to {login}.")
        if forbidden := CALLED & set(self._facts.forbidden):
            raise Failed(
                f"{login} may not execute agent.{min(forbidden)}: log in as agent_api, or {_MIGRATE}."
            )
        return ""
