"""The weather: Open-Meteo's, which needs no key, or a mock that does, for tests and machines without internet."""

import asyncio
import hashlib
from datetime import timedelta
from typing import Any, Final, Literal, Protocol

import orjson
from pydantic import BaseModel, Field

from functions.tools.tool import Context, ToolError, tool
from shared.contracts import Json

Unit = Literal["celsius", "fahrenheit"]
_KEPT: Final = timedelta(minutes=10)
_ASKS: Final = 3
_SECONDS: Final = 6.0
_MAX_BYTES: Final = 256 * 1024

#: WMO code table 4677, as far as Open-Meteo uses it.
_SKIES: Final = {
    0: "clear", 1: "mainly clear", 2: "partly cloudy", 3: "overcast", 45: "fog", 48: "rime fog",
    51: "light drizzle", 53: "drizzle", 55: "dense drizzle", 56: "freezing drizzle", 57: "dense freezing drizzle",
    61: "light rain", 63: "rain", 65: "heavy rain", 66: "freezing rain", 67: "heavy freezing rain",
    71: "light snow", 73: "snow", 75: "heavy snow", 77: "snow grains", 80: "light showers", 81: "showers",
    82: "violent showers", 85: "light snow showers", 86: "heavy snow showers", 95: "thunderstorm",
    96: "thunderstorm with light hail", 99: "thunderstorm with heavy hail",
}  # fmt: skip


class Where(BaseModel):
    location: str = Field(min_length=1, max_length=100, description="A city, such as Berlin.")
    unit: Unit = "celsius"


class Weather(BaseModel):
    location: str = Field(description="The place that was found.")
    temperature: float
    unit: Unit
    sky: str
    humidity_percent: float
    wind_kmh: float
    source: str


class Source(Protocol):
    async def weather(self, location: str, unit: Unit) -> Weather: ...


@tool(
    read_only=True,
    open_world=True,
    optional_settings=("mock_weather_tool_api_key", "open_meteo_url", "open_meteo_geocoding_url"),
)
async def get_weather(arguments: Where, context: Context) -> Weather:
    """Tell the weather of a place right now."""
    settings, unit = context.settings, arguments.unit
    if key := settings["mock_weather_tool_api_key"]:
        return await MockWeather(key).asked_by(key).weather(arguments.location, unit)
    place = " ".join(arguments.location.lower().split())
    if kept := await context.database.call("cached_weather", place, unit, _KEPT):
        return Weather(**kept)
    source = OpenMeteo(settings["open_meteo_geocoding_url"], settings["open_meteo_url"])
    found = await source.weather(arguments.location, unit)
    await context.database.call("keep_weather", place, unit, found.model_dump(mode="json"))
    return found


class MockWeather:
    """A weather service that is made up: the same place always has the same weather. It knows one key."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._given = ""

    def asked_by(self, key: str) -> "MockWeather":
        """The service, asked with this key."""
        self._given = key
        return self

    async def weather(self, location: str, unit: Unit) -> Weather:
        if self._given != self._key:
            raise ToolError("The weather service refused its key.")
        drawn = hashlib.sha256(location.strip().lower().encode()).digest()
        celsius = drawn[0] % 45 - 10
        skies = [*_SKIES.values()]
        return Weather(
            location=location.strip(),
            temperature=celsius if unit == "celsius" else celsius * 9 / 5 + 32,
            unit=unit,
            sky=skies[drawn[1] % len(skies)],
            humidity_percent=drawn[2] % 101,
            wind_kmh=drawn[3] % 60,
            source="mock",
        )


class OpenMeteo:
    """api.open-meteo.com: a place is looked up, then its weather."""

    def __init__(self, geocoding: str, forecast: str) -> None:
        self._geocoding = geocoding
        self._forecast = forecast

    async def weather(self, location: str, unit: Unit) -> Weather:
        asked: Json = {"name": location, "count": 1, "language": "en", "format": "json"}
        found = await _get(f"{self._geocoding}/v1/search", asked)
        try:
            if not found.get("results"):
                raise ToolError(f"There is no place named {location!r}.")
            place = found["results"][0]
            current = (await self._current(place, unit))["current"]
            return Weather(
                location=", ".join(filter(None, (place["name"], place.get("country")))),
                temperature=current["temperature_2m"],
                unit=unit,
                sky=_SKIES.get(current["weather_code"], "unknown"),
                humidity_percent=current["relative_humidity_2m"],
                wind_kmh=current["wind_speed_10m"],
                source="open-meteo.com",
            )
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            raise ToolError("The weather service answered something unexpected.") from None

    async def _current(self, place: Json, unit: Unit) -> Json:
        asked: Json = {
            "latitude": place["latitude"],
            "longitude": place["longitude"],
            "current": "temperature_2m,relative_humidity_2m,wind_speed_10m,weather_code",
            "temperature_unit": unit,
            "wind_speed_unit": "kmh",
        }
        return await _get(f"{self._forecast}/v1/forecast", asked)


async def _get(url: str, asked: Json) -> Json:
    """The JSON of an address; asked again a few times, as services hiccup."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for ask in range(1, _ASKS + 1):
            try:
                return await _ask(session, url, asked)
            except (aiohttp.ClientError, TimeoutError, OSError):
                if ask < _ASKS:
                    await asyncio.sleep(0.2 * ask)
    raise ToolError("The weather service cannot be reached from here. Try again later.")


async def _ask(session: Any, url: str, asked: Json) -> Json:
    async with session.get(url, params=asked, allow_redirects=False) as response:
        if response.status >= 500 or response.status == 429:
            response.raise_for_status()
        body = await response.content.read(_MAX_BYTES)
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if response.status != 200 or not isinstance(answer, dict):
        raise ToolError(f"The weather service answered {response.status}.")
    return answer
