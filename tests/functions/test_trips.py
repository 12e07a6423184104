"""The example agent `trips`: its tools against known values, and a trip as the result of a run."""

import json
from datetime import date

import pytest

from functions.trips.app import agent, daylight, distance
from shared.agents.context import ToolContext, ToolError, ToolUser
from shared.core.json import Json
from tests.doubles import ModelServer, calls, says
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import run_input, serve
from tests.fixtures.interrupts import tool_results

CONTEXT = ToolContext(user=ToolUser({"sub": "alice"}), key="call")
BERLIN: Json = {"latitude": 52.52, "longitude": 13.405}
POTSDAM: Json = {"latitude": 52.391, "longitude": 13.063}
TRIP: Json = {
    "title": "Castles",
    "stops": [{"place": "Sanssouci", "arrive_at": "09:30", "minutes": 90, "reason": "The park."}],
    "kilometres": 27.5,
}


@pytest.mark.parametrize(
    ("start", "end", "kilometres"),
    [
        (BERLIN, BERLIN, 0.0),
        (BERLIN, POTSDAM, 27.2),
        ({"latitude": 90, "longitude": 0}, {"latitude": -90, "longitude": 0}, 20015.1),
    ],
)
async def test_distances(start: Json, end: Json, kilometres: float) -> None:
    found = await distance.run({"start": start, "end": end}, CONTEXT)

    assert found == pytest.approx(kilometres, abs=0.6)


@pytest.mark.parametrize(
    ("latitude", "day", "hours"),
    [
        (0.0, date(2026, 3, 20), 12.1),
        (52.5, date(2026, 6, 21), 16.8),
        (52.5, date(2026, 12, 21), 7.6),
        (-33.9, date(2026, 12, 21), 14.4),
    ],
)
async def test_hours_of_daylight(latitude: float, day: date, hours: float) -> None:
    found = await daylight.run({"latitude": latitude, "day": day.isoformat()}, CONTEXT)

    assert found["hours"] == pytest.approx(hours, abs=0.2)


async def test_a_night_without_end_is_an_error() -> None:
    with pytest.raises(ToolError, match="does not rise"):
        await daylight.run({"latitude": 80.0, "day": "2026-12-21"}, CONTEXT)


async def test_a_trip_is_the_result_of_a_run(database: TestDatabase, model: ModelServer) -> None:
    wanted = json.dumps({"start": BERLIN, "end": POTSDAM})
    model.will(calls(("a", "distance", wanted)), says(json.dumps(TRIP)))
    async with serve(database, model, agent=agent) as served:
        seen = await (await served.person()).run(run_input("Castles near Berlin"))

    assert float(tool_results(model)[0]) == pytest.approx(27.2, abs=0.6)
    assert seen[-1]["result"] == TRIP
