"""The contents of Postgres at the end of a play."""

import json
from dataclasses import dataclass
from typing import Any

import asyncpg

_RUNS = "select id, client_run_id, status, agent, attempt, last_seq from agent.run"
_EVENTS = """
select run.client_run_id, event.seq, event.count, event.attempt, event.type, event.item_id::text as item_id,
       event.data,
       extract(epoch from event.created_at)::float8 as at
  from agent.run_event event join agent.run on run.id = event.run_id order by run.client_run_id, event.seq
"""
_ITEMS = """
select run.client_run_id as run, item.key, item.kind, item.data from agent.item join agent.run on run.id = item.run_id
 where superseded_at is null order by item.position
"""


@dataclass
class Record:
    """The contents of Postgres at the end."""

    runs: dict[str, Any]
    events: dict[str, list[Any]]
    items: dict[str, list[Any]]


async def recorded(owner: "asyncpg.Pool[asyncpg.Record]") -> Record:
    """Read everything."""
    runs = {row["client_run_id"]: row for row in await owner.fetch(_RUNS)}
    events: dict[str, list[Any]] = {key: [] for key in runs}
    items: dict[str, list[Any]] = {key: [] for key in runs}
    for row in await owner.fetch(_EVENTS):
        events[row["client_run_id"]].append({**row, "data": json.loads(row["data"])})
    for row in await owner.fetch(_ITEMS):
        items[row["run"]].append({**row, "data": json.loads(row["data"])})
    return Record(runs, events, items)


def results(record: Record) -> list[Any]:
    """The results of all tool calls."""
    return [i for items in record.items.values() for i in items if i["kind"] == "tool_result"]


def is_answer(item: Any) -> bool:
    """Whether an item is a message of the model."""
    return bool(item["kind"] == "message" and item["data"]["role"] == "assistant")
