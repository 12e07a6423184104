"""Pods are deleted in every way: each run ends, in as few attempts as possible, and repeats no closed turn."""

import asyncio
from pathlib import Path

import pytest

from tests.doubles import ModelServer
from tests.fixtures.database import TestDatabase
from tests.platform.bundle import PlatformBundle, Way, deployed

#: With the factor of 1/30, `assistant` has a window of 2 s, a deadline of 18 s, and 20 s for a response.
_TURN = 4.0
#: Ten windows and more. The fourth turn ends after 14.4 s, from when a run leaves between turns, and well before 18 s.
_LONG_TURNS, _LONG_TURN = 6, 3.75
_SETTLED = 60.0


def ways(short: Way) -> pytest.MarkDecorator:
    """Every way from `assistant` to `runner`; only one of them is in the short suite."""
    every: list[Way] = ["direct", "after delivery", "before delivery"]
    return pytest.mark.parametrize(
        "way", [pytest.param(way, marks=[] if way == short else pytest.mark.long) for way in every]
    )


@ways("direct")
async def test_graceful_deletions_interrupt_no_run_and_no_stream(
    tmp_path: Path, database: TestDatabase, model: ModelServer, way: Way
) -> None:
    async with deployed(tmp_path, database, model, way) as bundle:
        streams = [asyncio.ensure_future(bundle.stream(f"s{n}", 3, _TURN)) for n in range(4)]
        longs = (bundle.begin(f"long{n}", _LONG_TURNS, _LONG_TURN) for n in range(2))
        await asyncio.gather(*longs)
        await asyncio.gather(*(bundle.begin_in_background(f"back{n}", 3, _TURN) for n in range(2)))
        for _ in range(4):
            await asyncio.sleep(2)
            await bundle.delete_all()
        whole = await asyncio.gather(*streams)
        runs = await bundle.ended(_SETTLED)

    assert {status for status, _ in runs.values()} == {"completed"}
    attempts = {name: attempt for name, (_, attempt) in runs.items()}
    # Only their own deadline starts a second attempt.
    assert {name: n for name, n in attempts.items() if n > 1} == {"long0": 2, "long1": 2}
    assert {name: bundle.requests(name) for name in runs} == {
        name: [1] * (_LONG_TURNS if name.startswith("long") else 3) for name in runs
    }
    for frames in whole:
        assert frames[-1]["type"] == "RUN_FINISHED", "its one connection was cut"


@ways("before delivery")
async def test_forced_deletions_cost_an_attempt_each_and_nothing_else(
    tmp_path: Path, database: TestDatabase, model: ModelServer, way: Way
) -> None:
    async with deployed(tmp_path, database, model, way) as bundle:
        await asyncio.gather(*(bundle.begin(f"left{n}", 3, _TURN) for n in range(3)))
        await asyncio.gather(*(bundle.begin_in_background(f"back{n}", 3, _TURN) for n in range(3)))
        for nth in range(6):
            await asyncio.sleep(2)
            # A schedule's sweep finds the runs that the kills left.
            await bundle.delete_all(force=nth in (0, 3))
            await bundle.sweep()
        runs = await swept_until_ended(bundle)

    assert {status for status, _ in runs.values()} == {"completed"}
    for name, (_, attempt) in runs.items():
        assert attempt <= 1 + bundle.kills[name], name
        requests = bundle.requests(name)
        assert len(requests) == 3
        assert sum(requests) - 3 <= bundle.kills[name], f"{name}: a closed turn was repeated"
    assert sum(bundle.kills.values()), "nothing was held when pods were killed"


async def swept_until_ended(bundle: PlatformBundle) -> dict[str, tuple[str, int]]:
    """Sweep at intervals, as a schedule does."""
    for _ in range(20):
        try:
            return await bundle.ended(2)
        except TimeoutError:
            await bundle.sweep()
    return await bundle.ended(_SETTLED)
