"""Pages from random places of a user's threads and of a long thread, for growing numbers of rows."""

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Final

import asyncpg
import uvloop

from bench import NotMeasured
from bench.contenders import THREADS
from bench.load import in_turn, percentile, request
from bench.rounds import Effort, attempts, progress
from bench.rows import Row, ratio
from bench.site import Site
from functions.threads.pages import to_cursor

_SIZES: Final = (100, 1_000, 10_000, 100_000, 1_000_000)
_READER: Final = "reader"
_PAGES: Final = 600
_THREADS = """
insert into agent.thread (owner, client_thread_id, title, updated_at)
select $1, 'thread-' || n, 'Title ' || n, now() - n * interval '1 s' from generate_series($2::int, $3::int) n
"""
_ITEMS = """
insert into agent.item (thread_id, owner, key, kind, data)
select id, owner, 'item-' || n, 'message', jsonb_build_object('role', 'user', 'content', 'Said ' || n)
  from agent.thread, generate_series($2::int, $3::int) n where owner = $1 and client_thread_id = 'thread-1'
"""
_THREAD_PLACES = """
select updated_at as at, id::text as id from agent.thread where owner = $1 and client_thread_id = any($2)
"""
_ITEM_PLACES = """
select i.position from agent.item i join agent.thread t on t.id = i.thread_id
 where t.owner = $1 and t.client_thread_id = 'thread-1' and i.key = any($2)
"""
_LISTS: Final = {
    "threads": ("/threads", 25, "thread-", _THREADS, _THREAD_PLACES),
    "history": ("/threads/thread-1/items", 50, "item-", _ITEMS, _ITEM_PLACES),
}


def pages(site: Site, effort: Effort) -> Row:
    """p99 of pages of a user's threads and of one thread's history, by the number of rows."""
    sizes = effort.pick(_SIZES[:3], _SIZES)
    with THREADS.running(site) as (_, port, _):
        measures = {
            f"{kind}, {size:,}": partial(_page_ms, site, port, kind, before, size)
            for before, size in zip((0, *sizes), sizes, strict=False)
            for kind in _LISTS
        }
        results = attempts(measures, 1)
    first, last = sizes[0], sizes[-1]
    goals = [
        ratio(results, f"{kind}, {last:,}", f"{kind}, {first:,}", at_most=2) for kind in _LISTS
    ]
    curves = {
        kind: {size: name for size in sizes if (name := f"{kind}, {size:,}") in results.figures}
        for kind in _LISTS
    }
    return Row("a page of 25 threads or 50 items from anywhere, p99", "ms", results, goals, curves)


def _page_ms(site: Site, port: int, kind: str, before: int, size: int) -> float:
    cursors = uvloop.run(_fill(site, kind, before, size))
    path, rows, *_ = _LISTS[kind]

    def make(nth: int) -> bytes:
        signed = site.signed(_READER, "threads", "GET", path)
        address = f"{path}?limit={rows}&after={cursors[nth % len(cursors)]}"
        return request("GET", address, b"", signed)

    # First the cost of cold caches and new plans.
    uvloop.run(in_turn(port, make, 100, 1))
    answers = uvloop.run(in_turn(port, make, _PAGES, 1))
    if failures := [answer for answer in answers if answer.status != 200]:
        raise NotMeasured(
            f"{len(failures)} of {len(answers)} pages failed: {failures[0].body[:200]!r}"
        )
    return percentile([answer.total_ms for answer in answers], 0.99)


async def _fill(site: Site, kind: str, before: int, size: int) -> Sequence[str]:
    """Add rows up to this size, in one statement; returns cursors of random places."""
    *_, prefix, insert, places = _LISTS[kind]
    owner = site.users[_READER].sub
    connection = await asyncpg.connect(site.server.url("supabase_admin"))
    try:
        progress(f"  {await connection.execute(insert, owner, before + 1, size, timeout=900)}")
        await connection.execute("vacuum (analyze) agent.thread, agent.item", timeout=900)
        positions = Random(size).choices(range(1, size + 1), k=_PAGES)  # noqa: S311
        rows = await connection.fetch(places, owner, [f"{prefix}{nth}" for nth in positions])
        return [to_cursor({**row}, *row.keys()) for row in rows]
    finally:
        await connection.close()
