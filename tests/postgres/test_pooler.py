"""Behind a pooler in transaction mode, as on Supabase's port 6543: each statement may run on another connection."""

import asyncio
import os
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import urlsplit

import pytest

from local.children import Child, Children
from local.probe import require_free
from shared.core.json import Json
from shared.database.pool import Database
from shared.database.probe import read_facts, shares_servers
from tests.fixtures.database import MigratedServer, TestDatabase
from tests.fixtures.waiting import eventually
from tests.postgres.holders import (
    admit,
    append,
    begin,
    connected,
    entry,
    message,
    row,
    run_request,
)

_PORT = 6543
_PGBOUNCER = shutil.which("pgbouncer", path=os.defpath + ":/usr/sbin:/usr/local/sbin")

pytestmark = pytest.mark.skipif(
    _PGBOUNCER is None and os.environ.get("CI") != "true", reason="pgbouncer is not installed"
)


@pytest.fixture
def pooled(database: TestDatabase, postgres: MigratedServer) -> Iterator[str]:
    """The functions' url through a pooler with fewer servers than clients."""
    assert _PGBOUNCER, "CI runs this test: install pgbouncer"
    require_free(_PORT, "only this port stands for a transaction pooler, so this test needs it.")
    folder = Path(mkdtemp(prefix="agent-functions-pooler-"))
    folder.chmod(0o755)
    password = postgres.server.password("agent_api")
    (folder / "users.txt").write_text(f'"agent_api" "{password}"\n')
    (folder / "pooler.ini").write_text(_ini(folder, postgres.server.port))
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    try:
        with Children(folder / "logs") as children:
            command: list[str | Path] = [str(_PGBOUNCER), folder / "pooler.ini"]
            _wait(children.start("pgbouncer", command, env={}, user=user))
            name = urlsplit(database.url).path
            yield f"postgresql://agent_api:{password}@127.0.0.1:{_PORT}{name}"
    finally:
        shutil.rmtree(folder)


def _ini(folder: Path, port: int) -> str:
    return f"""
[databases]
* = host=127.0.0.1 port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {_PORT}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = 3
server_round_robin = 1
"""


def _wait(child: Child) -> None:
    async def listens() -> bool:
        child.check()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", _PORT)
        except OSError:
            return False
        writer.close()
        return True

    with asyncio.Runner() as loop:
        loop.run(eventually(listens))


async def live(db: Database, user: Json) -> tuple[list[str], Json, list[str]]:
    """A run from its beginning to its end, read by its owner."""
    leased = await begin(db, user)
    items = message(leased["last_seq"] + 1, leased["token"], "hello")
    verdicts = await append(db, entry(leased, *items, closes=True))
    verdicts += await append(db, entry(leased, row(items[-1]["seq"] + 1, "run.completed")))
    async with db.session(user) as connection:
        threads = await connection.fetch_all("select owner from agent.thread")
    found = await db.call("find_run", user, "run-1", None)
    return verdicts, found, [str(thread["owner"]) for thread in threads]


async def test_many_clients_of_a_transaction_pooler_finish_their_runs(
    pooled: str, database: TestDatabase
) -> None:
    users = [await admit(database) for _ in range(12)]
    async with (
        connected(pooled, database_connections=6) as one,
        connected(pooled, database_connections=6) as other,
    ):
        lives = await asyncio.gather(
            *(live(one if nth % 2 else other, user) for nth, user in enumerate(users))
        )

    for user, (verdicts, found, owners) in zip(users, lives, strict=True):
        assert verdicts == ["ok", "ok"]
        assert (found["status"], found["last_seq"]) == ("completed", 5)
        assert owners == [user["sub"]]


async def test_no_user_is_left_on_a_server_of_the_pool(pooled: str, database: TestDatabase) -> None:
    async with database.owner() as owner:
        await owner.execute(
            "create function agent.peek() returns text language sql as $$ select concat_ws(' ',"
            " current_user, current_setting('request.jwt.claims', true)) $$"
        )
    user = await admit(database)
    async with connected(pooled) as db:
        for nth in range(6):
            await begin(db, user, run_request(run=f"run-{nth}", thread=f"thread-{nth}"))
            async with db.session(user) as connection:
                await connection.fetch_val("select 1")
        seen = [await db.call("peek") for _ in range(6)]

    assert {text.strip() for text in seen} == {"agent_api"}


async def test_an_examination_finds_the_pooler(pooled: str, database: TestDatabase) -> None:
    for url, is_shared in ((pooled, True), (database.url, False)):
        async with connected(url, database_connections=2) as db:
            assert (await read_facts(db)).login == "agent_api"
            assert await shares_servers(db) is is_shared
