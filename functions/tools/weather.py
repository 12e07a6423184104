"""The weather from Open-Meteo, which needs no key, or from a mock with a key, for tests and offline machines."""

import asyncio
import hashlib
from contextlib import suppress
from datetime import timedelta
from hmac import compare_digest
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BaseModel, Field, ValidationError

from shared.agents import ToolContext, ToolError, tool
from shared.core import Json, Unavailable

Unit = Literal["celsius", "fahrenheit"]
_CACHED_FOR: Final = timedelta(minutes=10)
#: For one response.
_MAX_REQUESTS: Final = 3
#: The time of one request. All requests for two responses end within a call's time (TOOL_SECONDS).
_SECONDS: Final = 4.0
_PLACES: Final = 10
_MAX_BYTES: Final = 256 * 1024

#: The codes of WMO table 4677 that Open-Meteo uses.
_SKIES: Final = {
    0: "clear", 1: "mainly clear", 2: "partly cloudy", 3: "overcast", 45: "fog", 48: "rime fog",
    51: "light drizzle", 53: "drizzle", 55: "dense drizzle", 56: "freezing drizzle", 57: "dense freezing drizzle",
    61: "light rain", 63: "rain", 65: "heavy rain", 66: "freezing rain", 67: "heavy freezing rain",
    71: "light snow", 73: "snow", 75: "heavy snow", 77: "snow grains", 80: "light showers", 81: "showers",
    82: "violent showers", 85: "light snow showers", 86: "heavy snow showers", 95: "thunderstorm",
    96: "thunderstorm with light hail", 99: "thunderstorm with heavy hail",
}  # fmt: skip


Location = Annotated[
    str, Field(min_length=1, max_length=100, description="A city, such as Berlin, or Paris, Texas.")
]


class Weather(BaseModel):
    location: str = Field(description="The place that the weather service found.")
    temperature: float
    unit: Unit
    sky: str
    humidity_percent: float
    wind_kmh: float
    source: str


@tool(
    read_only=True,
    open_world=True,
    optional_settings=("mock_weather_tool_api_key", "open_meteo_url", "open_meteo_geocoding_url"),
)
async def get_weather(location: Location, context: ToolContext, unit: Unit = "celsius") -> Weather:
    """Get the current weather of a place."""
    settings = context.settings
    if key := settings["mock_weather_tool_api_key"]:
        return MockWeather(accepts=key).weather(location, unit, key=key)
    place = " ".join(location.lower().split())
    # The cache is optional: it saves requests. A row of a later release may have another shape.
    with suppress(Unavailable, ValidationError):
        if row := await context.database.call("cached_weather", place, unit, _CACHED_FOR):
            return Weather(**row)
    source = OpenMeteo(settings["open_meteo_geocoding_url"], settings["open_meteo_url"])
    weather = await source.weather(location, unit)
    with suppress(Unavailable):
        await context.database.call("cache_weather", place, unit, weather.model_dump(mode="json"))
    return weather


class MockWeather:
    """A fake weather service: a place always has the same weather. It accepts one key."""

    def __init__(self, accepts: str) -> None:
        self._accepts = accepts.encode()

    def weather(self, location: str, unit: Unit, *, key: str) -> Weather:
        if not compare_digest(key.encode(), self._accepts):
            raise ToolError("The weather service refused its key.")
        digest = hashlib.sha256(location.strip().lower().encode()).digest()
        celsius = digest[0] % 45 - 10
        skies = [*_SKIES.values()]
        return Weather(
            location=location.strip(),
            temperature=celsius if unit == "celsius" else celsius * 9 / 5 + 32,
            unit=unit,
            sky=skies[digest[1] % len(skies)],
            humidity_percent=digest[2] % 101,
            wind_kmh=digest[3] % 60,
            source="mock",
        )


class OpenMeteo:
    """api.open-meteo.com: a place is looked up, then its weather."""

    def __init__(self, geocoding: str, forecast: str, seconds: float = _SECONDS) -> None:
        self._geocoding = geocoding
        self._forecast = forecast
        self._seconds = seconds

    async def weather(self, location: str, unit: Unit) -> Weather:
        name, _, region = (part.strip() for part in location.partition(","))
        query: Json = {"name": name, "count": _PLACES, "language": "en", "format": "json"}
        search = await _get(f"{self._geocoding}/v1/search", query, self._seconds)
        try:
            place = _choose_place(search.get("results") or [], region.lower())
            if place is None:
                raise ToolError(f"There is no place named {location!r}.")
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
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ToolError("The weather service sent an unexpected response.") from None

    async def _current(self, place: Json, unit: Unit) -> Json:
        query: Json = {
            "latitude": place["latitude"],
            "longitude": place["longitude"],
            "current": "temperature_2m,relative_humidity_2m,wind_speed_10m,weather_code",
            "temperature_unit": unit,
            "wind_speed_unit": "kmh",
        }
        return await _get(f"{self._forecast}/v1/forecast", query, self._seconds)


def _choose_place(places: list[Json], region: str) -> Json | None:
    """The best known place in a region (a country, its code, a state); without a region, of all places."""
    names = ("country", "country_code", "admin1")
    inside = (p for p in places if region in {str(p.get(name, "")).lower() for name in names})
    return next(inside, None) if region else next(iter(places), None)


async def _get(url: str, query: Json, seconds: float) -> Json:
    """The JSON of an address. Failed requests are retried."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=seconds)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for request_number in range(1, _MAX_REQUESTS + 1):
            try:
                return await _fetch(session, url, query)
            except (aiohttp.ClientError, TimeoutError, OSError):
                if request_number < _MAX_REQUESTS:
                    await asyncio.sleep(0.2 * request_number)
    raise ToolError("The weather service cannot be reached from here. Try again later.")


async def _fetch(session: Any, url: str, query: Json) -> Json:
    async with session.get(url, params=query, allow_redirects=False) as response:
        if response.status >= 500 or response.status == 429:
            response.raise_for_status()
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > _MAX_BYTES:
                raise ToolError("The weather service sent an unexpected response.")
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if response.status != 200 or not isinstance(answer, dict):
        raise ToolError(f"The weather service answered {response.status}.")
    return answer
