"""Pages of a user's threads and of a long thread, as their number grows: the last is as quick as the first."""

import json
from typing import Final

import asyncpg
import uvloop

from bench.contenders import THREADS
from bench.load import Answer, Connection, connect, percentile, request
from bench.rows import Row, Spread, Verdict
from bench.site import Site

_SIZES: Final = (100, 1_000, 10_000, 100_000, 1_000_000)
_ITEMS: Final = 10_000
_THREADS = """
insert into agent.thread (owner, key, title, updated_at)
select $1, 'thread-' || n, 'Title ' || n, now() - n * interval '1 s' from generate_series($2::int, $3::int) n
"""
_THREAD_ITEMS = """
insert into agent.item (thread_id, owner, key, kind, data)
select id, owner, 'item-' || n, 'message', jsonb_build_object('role', 'user', 'content', 'Said ' || n)
  from agent.thread, generate_series(1, $2::int) n where owner = $1 and key = 'thread-1'
"""


def pages(site: Site, *, is_quick: bool) -> Row:
    """p99 of a page of threads from the middle of the list, by how many threads there are; and of a long history."""
    sizes = _SIZES[:3] if is_quick else _SIZES
    user = "reader"
    found = {}
    with THREADS.running(site) as (_, port, _):
        made = 0
        for size in sizes:
            uvloop.run(_fill(site, user, made, size))
            made = size
            found[f"threads, {size:,}"] = Spread(
                (uvloop.run(_p99(site, user, port, "/threads?limit=25")),)
            )
        path = "/threads/thread-1/items?limit=50"
        found[f"history, {_ITEMS:,} items"] = Spread((uvloop.run(_p99(site, user, port, path)),))
    first, last = found[f"threads, {sizes[0]:,}"].middle, found[f"threads, {sizes[-1]:,}"].middle
    flat = Verdict(f"p99 flat to {sizes[-1]:,} threads", f"{last / first:.2f} ×", last <= 2 * first)
    return Row("a page of threads, p99", "ms", found, [flat])


async def _fill(site: Site, user: str, made: int, size: int) -> None:
    sub = site.users[user].sub
    connection = await asyncpg.connect(site.server.url("supabase_admin"))
    try:
        if not made:
            await connection.execute("delete from agent.thread where owner = $1", sub)
        await connection.execute(_THREADS, sub, made + 1, size, timeout=600)
        if not made:
            await connection.execute(_THREAD_ITEMS, sub, _ITEMS, timeout=600)
        await connection.execute("vacuum analyze agent.thread, agent.item", timeout=600)
    finally:
        await connection.close()


async def _p99(site: Site, user: str, port: int, path: str, count: int = 300) -> float:
    """Pages on and on, each behind the one before."""
    connection = await connect(port)
    cursor: str | None = None
    taken = []
    for nth in range(count + 20):
        answer = await _page(site, user, connection, path, cursor)
        cursor = json.loads(connection.body).get("next")
        if nth >= 20:
            taken.append(answer.total_ms)
    connection.close()
    return percentile(taken, 0.99)


async def _page(
    site: Site, user: str, connection: Connection, path: str, cursor: str | None
) -> Answer:
    bare = path.partition("?")[0]
    signed = site.signed(user, "threads", "GET", bare)
    behind = f"&after={cursor}" if cursor else ""
    answer = await connection.ask(request("GET", path + behind, b"", signed))
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {connection.body[:200]!r}")
    return answer
