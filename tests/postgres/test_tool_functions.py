"""Database functions of the tools: cached weather, and figures that only admins see."""

from datetime import timedelta

import pytest

from shared.core.json import Json
from shared.database.pool import Database, Refused
from tests.fixtures.database import TestDatabase

_OLD = "insert into agent.weather_cache values ($1, 'celsius', '{}', now() - interval '2 days')"


async def test_old_weather_is_removed_except_for_rows_that_another_session_locks(
    database: TestDatabase,
) -> None:
    async with database.owner() as owner, database.owner() as other:
        for place in ("held", "old"):
            await owner.execute(_OLD, place)
        await other.execute("begin")
        await other.execute("select from agent.weather_cache where place = 'held' for update")
        # A session that would wait for a lock fails instead.
        await owner.execute("set lock_timeout = '1ms'")
        await owner.execute("select agent.cache_weather('new', 'celsius', '{}')")

        places = await owner.fetch("select place from agent.weather_cache order by place")
        assert [row["place"] for row in places] == ["held", "new"]
        await other.execute("rollback")


async def test_only_fresh_weather_of_the_same_unit_is_found(db: Database) -> None:
    await db.call("cache_weather", "berlin", "celsius", {"sky": "clear"})

    minutes = timedelta(minutes=10)
    assert await db.call("cached_weather", "berlin", "celsius", minutes) == {"sky": "clear"}
    assert await db.call("cached_weather", "berlin", "fahrenheit", minutes) is None
    assert await db.call("cached_weather", "berlin", "celsius", timedelta(0)) is None


@pytest.mark.parametrize("metadata", [None, {}, {"role": "user"}, {"role": ["admin"]}, "admin"])
async def test_postgres_returns_its_figures_only_to_admins(
    db: Database, user: Json, metadata: object
) -> None:
    admin = {**user, "app_metadata": {"role": "admin"}}
    assert (await db.call("diagnose", admin))["expired_leases"] == 0

    for claims in (
        {**user, "app_metadata": metadata},
        {**user, "user_metadata": {"role": "admin"}},
    ):
        with pytest.raises(Refused, match="forbidden"):
            await db.call("diagnose", claims)


async def test_notes_are_searched_by_any_words(db: Database, user: Json) -> None:
    await db.call("write_note", user, None, "call-1", "green tea")

    for words, count in (("tea", 1), ("-tea", 0), ("tea " + "- " * 90, 1), ("-" * 200, 0)):
        assert len(await db.call("search_notes", user, words, 5)) == count, words
