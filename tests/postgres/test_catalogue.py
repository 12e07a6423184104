"""Rules of schema `agent`, checked in Postgres's catalogue: a table or function that breaks one is found."""

import asyncpg
import pytest

from tests.fixtures.database import TestDatabase

#: Each query lists what breaks its rule.
RULES = {
    "a table without row-level security": """
        select relname from pg_class
         where relnamespace = 'agent'::regnamespace and relkind in ('r', 'p') and not relrowsecurity
    """,
    "a view, which would show its owner's rows": """
        select relname from pg_class
         where relnamespace = 'agent'::regnamespace and relkind in ('v', 'm', 'f')
    """,
    "a function that a role of the API may execute": """
        select proname || ' by ' || rolname from pg_proc, pg_roles
         where pronamespace = 'agent'::regnamespace
           and rolname in ('anon', 'authenticated', 'service_role', 'authenticator')
           and has_function_privilege(pg_roles.oid, pg_proc.oid, 'execute')
    """,
    "a function that every role may execute": """
        select proname from pg_proc, lateral aclexplode(coalesce(proacl, acldefault('f', proowner)))
         where pronamespace = 'agent'::regnamespace and grantee = 0
    """,
    "a function the login of the functions may not execute": """
        select proname from pg_proc
         where pronamespace = 'agent'::regnamespace
           and not has_function_privilege('agent_api', oid, 'execute')
    """,
    # Names in a body that was parsed at its creation are resolved already.
    "a function without an empty search path": """
        select proname from pg_proc
         where pronamespace = 'agent'::regnamespace and prosqlbody is null
           and not coalesce(proconfig @> array['search_path=""'], false)
    """,
    "a table the login of the functions has a right to": """
        select relname || ' ' || privilege from pg_class,
               unnest(array['select', 'insert', 'update', 'delete', 'truncate']) privilege
         where relnamespace = 'agent'::regnamespace and relkind = 'r'
           and has_table_privilege('agent_api', pg_class.oid, privilege)
    """,
    "a table of tokens or claims that a role of the API has a right to": """
        select relname || ' ' || rolname from pg_class, pg_roles
         where relnamespace = 'agent'::regnamespace and relname in (
           'lease', 'run_secret', 'tool_list', 'weather_cache')
           and rolname in ('anon', 'authenticated', 'service_role')
           and (has_any_column_privilege(pg_roles.oid, pg_class.oid, 'select')
             or has_any_column_privilege(pg_roles.oid, pg_class.oid, 'insert'))
    """,
    "a role that may use the schema and should not": """
        select rolname from pg_roles
         where rolname in ('anon', 'service_role', 'authenticator')
           and has_schema_privilege(oid, 'agent', 'usage')
    """,
    "a role that may create in the schema": """
        select rolname from pg_roles
         where rolname in ('anon', 'authenticated', 'service_role', 'authenticator', 'agent_api')
           and has_schema_privilege(oid, 'agent', 'create')
    """,
    "a reference to a user that outlives the user": """
        select conrelid::regclass::text from pg_constraint
         where confrelid = 'auth.users'::regclass and connamespace = 'agent'::regnamespace
           and confdeltype <> 'c'
    """,
    "an owner that is no user": """
        select attrelid::regclass::text from pg_attribute join pg_class on pg_class.oid = attrelid
         where relnamespace = 'agent'::regnamespace and relkind = 'r' and attname = 'owner'
           and not exists (select from pg_constraint where conrelid = attrelid and conkey = array[attnum]
                            and confrelid = 'auth.users'::regclass and confdeltype = 'c')
    """,
    "an owner that may be missing": """
        select attrelid::regclass::text from pg_attribute join pg_class on pg_class.oid = attrelid
         where relnamespace = 'agent'::regnamespace and relkind = 'r' and attname = 'owner'
           and not attnotnull
    """,
    # Except caches that belong to no user and that no role can read: lists of tools, and the weather.
    "a table whose rows outlive their thread, run or user": """
        select relname from pg_class
         where relnamespace = 'agent'::regnamespace and relkind = 'r'
           and relname not in ('tool_list', 'weather_cache') and not exists (
           select from pg_constraint where conrelid = pg_class.oid and contype = 'f' and confdeltype = 'c')
    """,
    "a reference that deletes by reading a whole table": """
        select conrelid::regclass || '.' || attname from pg_constraint
          join pg_attribute on attrelid = conrelid and attnum = conkey[1]
         where connamespace = 'agent'::regnamespace and contype = 'f' and confdeltype = 'c'
           and confrelid <> 'auth.users'::regclass and not exists (
             select from pg_index where indrelid = conrelid and indkey[0] = conkey[1])
    """,
    "a policy for another role than `authenticated`": """
        select polrelid::regclass || '.' || polname from pg_policy
          join pg_class on pg_class.oid = polrelid
         where relnamespace = 'agent'::regnamespace
           and polroles <> array['authenticated'::regrole::oid]
    """,
}

#: All columns that a user's session may write.
WRITABLE = {
    "insert": {
        "thread": "owner client_thread_id title metadata request_key request_hash",
        "run": "thread_id owner client_run_id agent agent_hash request request_hash",
        "item": "thread_id run_id owner key kind data",
        "note": "owner key text",
    },
    "update": {
        "thread": "title metadata updated_at archived_at",
        "item": "superseded_at",
        "interrupt": "status payload resolved_by resolved_at",
    },
}


@pytest.mark.parametrize("rule", RULES)
async def test_the_schema_has_not(database: TestDatabase, rule: str) -> None:
    async with database.owner() as owner:
        assert [row[0] for row in await owner.fetch(RULES[rule])] == []


@pytest.mark.parametrize("privilege", WRITABLE)
async def test_a_users_session_writes_these_columns_and_no_others(
    database: TestDatabase, privilege: str
) -> None:
    async with database.owner() as owner:
        rows = await owner.fetch(
            "select relname, attname from pg_attribute join pg_class on pg_class.oid = attrelid"
            " where relnamespace = 'agent'::regnamespace and relkind = 'r' and attnum > 0"
            " and has_column_privilege('authenticated', attrelid, attnum, $1)",
            privilege,
        )
    found = {(row["relname"], row["attname"]) for row in rows}
    assert found == {(t, c) for t, names in WRITABLE[privilege].items() for c in names.split()}


async def test_users_may_delete_their_notes_and_nothing_else(
    database: TestDatabase,
) -> None:
    async with database.owner() as owner:
        rows = await owner.fetch(
            "select relname, rolname from pg_class, pg_roles where relkind = 'r'"
            " and relnamespace = 'agent'::regnamespace and not rolsuper and rolname !~ '^pg_'"
            " and rolname <> 'postgres' and has_table_privilege(pg_roles.oid, pg_class.oid, 'delete')"
        )
    assert [tuple(row) for row in rows] == [("note", "authenticated")]


@pytest.mark.parametrize(
    ("mistake", "rule"),
    [
        ("create table agent.t (id int)", "a table without row-level security"),
        (
            "create function agent.f() returns int language sql as 'select 1'",
            "every role may execute",
        ),
        ("create view agent.v as select * from agent.thread", "a view"),
        ("grant select on agent.lease to authenticated", "tokens or claims"),
        ("grant select on agent.thread to agent_api", "the login of the functions has"),
    ],
)
async def test_a_mistake_in_the_schema_is_found(
    database: TestDatabase, mistake: str, rule: str
) -> None:
    (query,) = [query for name, query in RULES.items() if rule in name]
    async with database.owner() as owner:
        await owner.execute(mistake)
        assert await owner.fetch(query)


async def test_two_endings_or_two_live_runs_are_refused_by_an_index(database: TestDatabase) -> None:
    async with database.owner() as owner:
        user = await owner.fetchval(
            "insert into auth.users (id) values (gen_random_uuid()) returning id"
        )
        thread = await owner.fetchval(
            "insert into agent.thread (owner, client_thread_id) values ($1, 't') returning id", user
        )
        live = (
            "insert into agent.run (thread_id, owner, client_run_id, agent, request, request_hash, status)"
            " values ($1, $2, $3, 'assistant', '{}', '', 'in_progress')"
        )
        await owner.execute(live, thread, user, "a")
        with pytest.raises(asyncpg.UniqueViolationError, match="run_one_live_per_thread"):
            await owner.execute(live, thread, user, "b")
