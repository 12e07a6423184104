"""The database's own schedule: it calls the functions only when a run waits, and only with its extensions."""

import json

from shared.core.json import Json
from shared.database.pool import Database
from tests.fixtures.database import TestDatabase
from tests.postgres.holders import LEASE, append, begin, entry, expire, row, run_request, superuser

#: The parts of Supabase that a plain Postgres lacks, as far as they are used.
_NET = """
create schema net;
create table net.sent (url text, headers jsonb);
create function net.http_post(url text, body jsonb default '{}', params jsonb default '{}', headers jsonb default '{}',
                              timeout_milliseconds integer default 5000) returns bigint
language sql as 'insert into net.sent values (url, headers) returning 1';
create schema vault;
create table vault.decrypted_secrets (name text, decrypted_secret text);
grant usage on schema net, vault to postgres;
grant select, insert on net.sent, vault.decrypted_secrets to postgres;
"""
_CRON = """
create schema cron;
create table cron.job (jobname text primary key, schedule text, command text);
create function cron.schedule(job_name text, schedule text, command text) returns bigint
language sql as 'insert into cron.job values (job_name, schedule, command)
  on conflict (jobname) do update set command = excluded.command returning 1';
grant usage on schema cron to postgres;
grant select, insert, update on cron.job to postgres;
"""
_SECRETS = """
insert into vault.decrypted_secrets values ('agent_sweep_url', 'https://x.invalid/sweep'), ('agent_sweep_secret', 's')
"""


async def woken(database: TestDatabase) -> str:
    async with database.owner() as owner:
        return str(await owner.fetchval("select agent.wake_runner()"))


async def test_a_run_waits_exactly_when_a_sweep_would_find_one(db: Database, user: Json) -> None:
    assert not await db.call("has_waiting_runs")
    leased = await begin(db, user)
    assert not await db.call("has_waiting_runs"), "a process holds it"
    await db.call("release_runs", [{"run_id": leased["run_id"], "token": leased["token"]}])
    assert await db.call("has_waiting_runs")
    assert await db.rows("sweep_runs", 10)
    assert not await db.call("has_waiting_runs"), "it was dispatched a moment ago"
    again = await db.call("claim_run", leased["run_id"], {**LEASE, "grace": 0})
    await append(db, entry({**leased, **again}, row(again["last_seq"] + 1, "run.completed")))
    assert not await db.call("has_waiting_runs"), "it has ended"


async def test_a_queue_after_a_held_run_does_not_call_the_functions(
    db: Database, user: Json
) -> None:
    held = await begin(db, user)
    await begin(db, user, run_request(run="run-2", busy="enqueue"))
    assert not await db.call("has_waiting_runs")
    await append(db, entry(held, row(held["last_seq"] + 1, "run.completed")))
    assert await db.call("has_waiting_runs")


async def test_without_the_extensions_nothing_is_scheduled_or_sent(
    db: Database, user: Json, database: TestDatabase
) -> None:
    await expire(database, await begin(db, user))

    assert await woken(database) == "pg_net or the vault is missing"
    async with database.owner() as owner:
        reported = await owner.fetchval("select agent.schedule_sweep()")
    assert reported == "pg_cron or pg_net is missing"


async def test_the_functions_are_called_only_when_a_run_waits(
    db: Database, user: Json, database: TestDatabase
) -> None:
    async with superuser(database) as connection:
        await connection.execute(_NET)
    assert await woken(database) == "nothing waits"
    await expire(database, await begin(db, user))
    assert await woken(database) == "agent_sweep_url or agent_sweep_secret is missing"
    async with superuser(database) as connection:
        await connection.execute(_SECRETS)

    assert await woken(database) == "woken"

    async with database.owner() as owner:
        (sent,) = await owner.fetch("select * from net.sent")
    assert sent["url"] == "https://x.invalid/sweep"
    assert json.loads(sent["headers"])["x-sweep-secret"] == "s"


async def test_repeated_scheduling_gives_one_job(database: TestDatabase) -> None:
    async with superuser(database) as connection:
        await connection.execute(_NET + _CRON)
    async with database.owner() as owner:
        for _ in range(2):
            assert await owner.fetchval("select agent.schedule_sweep()") == "scheduled"
        (job,) = await owner.fetch("select * from cron.job")
    assert (job["schedule"], job["command"]) == ("* * * * *", "select agent.wake_runner()")
