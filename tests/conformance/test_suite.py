"""MCP's own conformance suite against the function `tools`: `make mcp-conformance` prints its counts."""

import re
from pathlib import Path

import pytest

from tests.conformance.node import run
from tests.fixtures.processes import Process

_SCENARIO = re.compile(r"^([✓✗]) (\S+): (\d+) passed, (\d+) failed", re.MULTILINE)
_UNSCORED = re.compile(r"^  [✓✗] (\S+) \((?:extension|pending|added-after-release)\)", re.MULTILINE)


@pytest.mark.parametrize(("revision", "scenarios"), [("2026-07-28", 37), ("2025-11-25", 30)])
async def test_no_required_scenario_fails(
    everything: Process, tmp_path: Path, revision: str, scenarios: int
) -> None:
    script = "@modelcontextprotocol/conformance/dist/index.js"
    url = f"{everything.base}/mcp"
    code, output = await run(
        script, "server", "--url", url, "--requirements", revision, home=tmp_path
    )

    unscored = set(_UNSCORED.findall(output))
    counts = {
        name: (int(passed), int(failed)) for _, name, passed, failed in _SCENARIO.findall(output)
    }
    scored = {name: count for name, count in counts.items() if name not in unscored}
    passed, failed = (sum(column) for column in zip(*scored.values(), strict=True))
    print(f"\nMCP {revision}: {len(scored)} scenarios, {passed} checks passed, {failed} failed")
    for name in sorted(unscored):
        print(f"  not scored: {name}: {counts[name][0]} passed, {counts[name][1]} failed")
    assert (code, failed, len(scored)) == (0, 0, scenarios), output
