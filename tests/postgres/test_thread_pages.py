"""A page costs the same in small and in large threads: the blocks that it reads are counted."""

import json
from collections.abc import AsyncIterator
from typing import TypeAlias

import asyncpg
import pytest

from shared.core.json import Json
from tests.fixtures.database import TestDatabase
from tests.postgres.holders import admit

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

#: Blocks that a page may read more in a thread twenty times as large: indexes are a level deeper, plans may differ.
_DEEPER = 150
_FEW, _MANY = 1_200, 24_000

_FILL = """
with made as (
  insert into agent.thread (owner, client_thread_id, title, metadata, archived_at, updated_at)
  select $1, 'thread-' || n, 'title ' || n, jsonb_build_object('rare', n % ($2 / 5), 'common', true),
         case when n % 2 = 0 then now() end, now() - make_interval(secs => n)
    from generate_series(1, $2) n returning id, client_thread_id
), run as (
  insert into agent.run (thread_id, owner, client_run_id, agent, request, request_hash, status, ended_at, ending)
  select id, $1, 'run-' || n, 'assistant', '{}', '', 'completed', now(), '{}' from made, generate_series(1, $2) n
   where made.client_thread_id = 'thread-1'
)
insert into agent.item (thread_id, owner, key, kind, data)
select id, $1, 'item-' || n, 'message', jsonb_build_object(
         'role', 'user', 'content', 'common word ' || n || case when n % ($2 / 5) = 0 then ' needle' else '' end)
  from made, generate_series(1, $2) n where made.client_thread_id = 'thread-1'
"""
_LOG = """
insert into agent.run_event (run_id, seq, attempt, type)
select id, n, 1, 'turn.finished' from agent.run, generate_series(1, $2) n
 where owner = $1 and client_run_id = 'run-1'
"""

#: Messages of 200 kB that are hardly smaller when they are compressed.
_FILL_LARGE = """
with made as (insert into agent.thread (owner, client_thread_id) values ($1, 'thread-1') returning id)
insert into agent.item (thread_id, owner, key, kind, data)
select id, $1, 'item-' || n, 'message', jsonb_build_object('content', (
         select string_agg(md5(n || '-' || word), ' ') from generate_series(1, 6000) word))
  from made, generate_series(1, $2) n
"""

PAGES = {
    "threads": "list_threads($1, null, false, null, 26)",
    "all threads": "list_threads($1, null, null, null, 26)",
    "threads in the middle": "list_threads($1, null, true, {moment}, 26)",
    "threads with metadata": """list_threads($1, '{{"rare": 3}}', null, null, 26)""",
    "threads with metadata that all have": """list_threads($1, '{{"common": true}}', false, null, 26)""",
    "a thread": "read_thread($1, 'thread-7')",
    "items": "list_items($1, 'thread-1', null, null, false, false, 50)",
    "newest items": "list_items($1, 'thread-1', null, null, true, true, 50)",
    "items in the middle": "list_items($1, 'thread-1', {middle}, null, false, false, 50)",
    "items before the middle": "list_items($1, 'thread-1', null, {middle}, true, true, 50)",
    "runs": "list_runs($1, 'thread-1', null, 26)",
    "a log": "list_events($1, 'thread-1', 'run-1', 100, 50)",
    "a rare word": "search_threads($1, 'needle', null, 21)",
    "a word of every message": "search_threads($1, 'common', null, 21)",
    "an export": "export_rows($1, 'item', '{middle}', 100)",
    "what a new message means": """compare_history($1, {thread}, '{{"messages": [
        {{"key": "item-700", "kind": "message", "data": {{"role": "user", "content": "else"}}}},
        {{"key": "new", "kind": "message", "data": {{"role": "user", "content": "hi"}}}}]}}')""",
}


class Shelf:
    """Users in one database: one has nothing, one a little, one twenty times as much."""

    def __init__(self, connection: Connection, none: Json, few: Json, many: Json) -> None:
        self._connection = connection
        self.none = none
        self.few = few
        self.many = many

    async def blocks(self, user: Json, page: str) -> int:
        """The number of blocks that a page reads, once its arguments are known."""
        middle = await self._connection.fetchval(
            "select percentile_disc(0.5) within group (order by position) from agent.item where owner = $1",
            user["sub"],
        )
        moment = await self._connection.fetchval(
            """select quote_literal(jsonb_build_object('at', updated_at, 'id', id)) || '::jsonb'
                 from agent.thread where owner = $1 order by updated_at offset 90 limit 1""",
            user["sub"],
        )
        thread = await self._connection.fetchval(
            "select quote_literal(id) from agent.thread where owner = $1 and client_thread_id = 'thread-1'",
            user["sub"],
        )
        call = "agent." + page.format(middle=middle, moment=moment, thread=thread)
        call = call.replace("$1", f"'{json.dumps(user)}'::jsonb", 1)
        for _ in range(2):
            row = await self._connection.fetchval(
                f"explain (analyze, buffers, format json) select {call}"
            )
        plan = json.loads(row)[0]["Plan"]
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@pytest.fixture
async def shelf(database: TestDatabase) -> AsyncIterator[Shelf]:
    none, few, many = [await admit(database) for _ in range(3)]
    async with database.owner() as owner:
        for user, count in ((few, _FEW), (many, _MANY)):
            await owner.execute(_FILL, user["sub"], count)
            await owner.execute(_LOG, user["sub"], count)
        await owner.execute("vacuum analyze agent.thread, agent.item, agent.run, agent.run_event")
        yield Shelf(owner, none, few, many)


async def test_a_page_costs_the_same_in_a_thread_twenty_times_as_large(shelf: Shelf) -> None:
    cost = {
        name: (await shelf.blocks(shelf.few, page), await shelf.blocks(shelf.many, page))
        for name, page in PAGES.items()
    }

    assert {name: cost[name] for name in PAGES if cost[name][1] > cost[name][0] + _DEEPER} == {}


@pytest.mark.parametrize("page", ["a word of every message", "threads with metadata that all have"])
async def test_the_rows_of_other_users_do_not_make_a_page_slower(shelf: Shelf, page: str) -> None:
    assert await shelf.blocks(shelf.none, PAGES[page]) < _DEEPER


async def test_a_search_reads_no_more_large_messages_than_needed(
    database: TestDatabase,
) -> None:
    """A table whose large values are stored out of line looks small to the planner, and cheap to scan."""
    none, few, many = [await admit(database) for _ in range(3)]
    async with database.owner() as owner:
        shelf = Shelf(owner, none, few, many)
        await owner.execute(_FILL_LARGE, few["sub"], 12)
        await owner.execute(_FILL_LARGE, many["sub"], 48)
        await owner.execute("vacuum analyze agent.item")
        costs = [await shelf.blocks(user, PAGES["a rare word"]) for user in (few, many)]

    assert costs[1] <= costs[0] + _DEEPER, costs
