"""Plans a day trip: an example of an agent with a model, tools and a structured answer of its own."""

from datetime import date
from math import acos, asin, cos, degrees, pi, radians, sin, sqrt, tan
from typing import Annotated

from pydantic import BaseModel, Field

from shared.agents import Agent, Model, ToolError, shared_tools, tool
from shared.http import agent_app

_EARTH_KM = 6371.0
#: The sun's centre at sunrise and sunset is this far below the horizon, because air bends its light.
_HORIZON = radians(-0.833)

Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]


class Place(BaseModel):
    """A point on a map."""

    latitude: Latitude
    longitude: Longitude


class Stop(BaseModel):
    """A stop of a trip."""

    place: str
    arrive_at: str = Field(pattern=r"^[0-2]\d:[0-5]\d$", description="Local time, such as 09:30.")
    minutes: int = Field(ge=0, description="How long to stay.")
    reason: str = Field(max_length=300)


class Trip(BaseModel):
    """A plan for one day."""

    title: str = Field(max_length=80)
    stops: list[Stop] = Field(min_length=1, max_length=12)
    kilometres: float = Field(ge=0)


@tool(read_only=True)
def distance(start: Place, end: Place) -> float:
    """The kilometres between two places as the crow flies; roads are about a third longer."""
    north = radians(end.latitude - start.latitude) / 2
    east = radians(end.longitude - start.longitude) / 2
    latitudes = cos(radians(start.latitude)) * cos(radians(end.latitude))
    share = sqrt(sin(north) ** 2 + latitudes * sin(east) ** 2)
    return round(2 * _EARTH_KM * asin(min(1.0, share)), 1)


@tool(read_only=True)
def daylight(latitude: Latitude, day: date) -> dict[str, float]:
    """The hours of daylight of a place on a day."""
    tilt = radians(23.44) * sin(2 * pi * (day.timetuple().tm_yday - 81) / 365.25)
    here = radians(min(89.9, max(-89.9, latitude)))
    hour_angle = sin(_HORIZON) / (cos(here) * cos(tilt)) - tan(here) * tan(tilt)
    if not -1 <= hour_angle <= 1:
        raise ToolError("The sun does not rise, or does not set, there on that day.")
    return {"hours": round(2 * degrees(acos(hour_angle)) / 15, 1)}


agent = Agent(
    instructions="""\
You plan day trips. Check distances and daylight with your tools, and the weather where you can. Plan at most twelve
stops, in an order that avoids detours, and finish before it is dark.""",
    model=Model(reasoning_effort="low", fallback=["gpt-5-nano"]),
    tools=[distance, daylight, shared_tools("get_weather")],
    output=Trip,
)
app = agent_app("trips", agent)
