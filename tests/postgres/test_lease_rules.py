"""Each rule about leases stands in one place, and the planner inlines it."""

import re
from pathlib import Path

import pytest

from local.database.files import MIGRATIONS
from tests.fixtures.database import TestDatabase

_EXPIRED = "select run_id from agent.lease where agent.lease_is_expired(until)"
_DISPATCHABLE = """
select lease.run_id from agent.lease join agent.run on run.id = lease.run_id
 where agent.is_dispatchable(lease, run)
"""


@pytest.mark.parametrize("query", [_EXPIRED, _DISPATCHABLE])
async def test_the_planner_inlines_the_rules_and_uses_the_index(
    database: TestDatabase, query: str
) -> None:
    async with database.owner() as owner:
        await owner.execute("set enable_seqscan = off")
        rows = await owner.fetch(f"explain (costs off) {query}")
    plan = "\n".join(row[0] for row in rows)
    assert "lease_expiry" in plan
    assert "Index Cond: (until < now())" in plan
    assert "is_dispatchable" not in plan


@pytest.mark.parametrize("rule", [r"until < now\(\)(?! \+)", "interval '60 seconds'"])
def test_no_other_sql_repeats_the_rules(rule: str) -> None:
    found = [file.name for file in _files() for line in _code(file) if re.search(rule, line)]
    assert [name.partition("_")[2] for name in found] == ["lease.sql"]


def _files() -> list[Path]:
    return sorted(MIGRATIONS.glob("*.sql"))


def _code(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if not line.lstrip().startswith("--")]
