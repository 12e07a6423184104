"""Claims set in a session: any text survives, none chooses the role, and without a user no row is visible."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.core.json import Json
from shared.database.pool import Database, Refused
from tests.fixtures.database import TestDatabase
from tests.postgres.holders import admit, begin, connected, run_request

#: Text Postgres can keep, with what breaks literals, JSON and encodings made likely.
TEXT = st.text(
    st.one_of(
        st.sampled_from("'\"\\$;-{}\n\t\u2028\u00e9\u4e2d\U0001f600\ufffd%"),
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    ),
    max_size=30,
)
NUMBER = st.integers(-(2**53), 2**53)
VALUE = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
CLAIMS = st.dictionaries(TEXT, VALUE, max_size=4)
FUZZ = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

_SEEN = "select jsonb_build_object('uid', auth.uid(), 'role', current_user, 'jwt', auth.jwt())"


@pytest.fixture
async def one(database: TestDatabase) -> AsyncIterator[Database]:
    async with database.owner() as owner:
        # The settings that `act_as` makes for the rest of its transaction.
        await owner.execute(
            "create function agent.acted_as(p jsonb) returns jsonb language plpgsql as"
            f" $$ begin perform agent.act_as(p); return ({_SEEN}); end $$"
        )
    async with connected(database.url, database_connections=1) as db:
        yield db


async def in_session(db: Database, claims: Json) -> Json:
    async with db.session(claims) as connection:
        seen: Json = json.loads(await connection.fetch_val(_SEEN))
    return seen


async def in_function(db: Database, claims: Json) -> Json:
    seen: Json = await db.call("acted_as", claims)
    return seen


DOORS = pytest.mark.parametrize("door", [in_session, in_function])


@DOORS
@FUZZ
@given(claims=CLAIMS)
async def test_any_claims_arrive_as_they_were_sent(one: Database, door: Any, claims: Json) -> None:
    sub = str(uuid4())

    seen = await door(one, {**claims, "sub": sub})

    assert seen == {"uid": sub, "role": "authenticated", "jwt": {**claims, "sub": sub}}


@pytest.mark.parametrize(
    "text",
    ["'", "''", "\\'", "'; drop schema agent cascade; --", "$$", "\\", "\U0001f600", "\u2028"],
)
@DOORS
async def test_no_text_escapes_from_its_literal(one: Database, door: Any, text: str) -> None:
    claims = {"sub": str(uuid4()), "session_id": text, text or "k": [text]}

    assert (await door(one, claims))["jwt"] == claims


@DOORS
@pytest.mark.parametrize(
    "role", ["service_role", "postgres", "supabase_admin", "anon", "agent_api"]
)
async def test_claims_never_choose_the_role(one: Database, door: Any, role: str) -> None:
    seen = await door(one, {"sub": str(uuid4()), "role": role})

    assert seen["role"] == "authenticated"


@DOORS
@pytest.mark.parametrize("bad", ["a\0b", "\ud800"])
async def test_text_postgres_cannot_keep_is_refused_and_the_connection_stays_usable(
    one: Database, door: Any, bad: str
) -> None:
    sub = str(uuid4())

    # orjson refuses a lone surrogate itself; Postgres the rest.
    with pytest.raises((asyncpg.DataError, TypeError)):
        await door(one, {"sub": sub, "app_metadata": {"role": bad}})

    assert (await door(one, {"sub": sub}))["uid"] == sub


@pytest.mark.parametrize("claims", [{}, {"sub": None}, {"sub": ""}, {"role": "authenticated"}])
async def test_without_a_user_no_row_is_visible(
    one: Database, database: TestDatabase, claims: Json
) -> None:
    await begin(one, await admit(database))

    try:
        async with one.session(claims) as connection:
            assert await connection.fetch_val("select count(*) from agent.thread") == 0
    except asyncpg.InvalidTextRepresentationError:
        assert claims == {"sub": ""}, "an empty text is no uuid, so the query is refused"
    with pytest.raises((Refused, asyncpg.DataError)):
        await one.call("find_run", claims, "run-1", None)
    with pytest.raises((Refused, asyncpg.DataError)):
        await begin(one, claims, run_request(run="run-2"))


async def test_a_missing_sub_is_unauthorized(one: Database) -> None:
    with pytest.raises(Refused, match="unauthorized"):
        await begin(one, {"role": "authenticated"})


async def test_a_legacy_claim_left_on_the_connection_does_not_win(
    one: Database, database: TestDatabase
) -> None:
    alice, bob = await admit(database), await admit(database)
    await begin(one, bob)
    async with one.session(bob) as connection:
        await connection.execute(
            f"select set_config('request.jwt.claim.sub', '{bob['sub']}', false),"
            f" set_config('request.jwt.claim', '{json.dumps(bob)}', false)"
        )

    for door in (in_session, in_function):
        seen = await door(one, alice)
        assert (seen["uid"], seen["jwt"]["sub"]) == (alice["sub"], alice["sub"])


async def test_sessions_of_many_users_at_once_see_their_own_rows(database: TestDatabase) -> None:
    users = [await admit(database) for _ in range(8)]

    async def threads(db: Database, user: Json) -> list[str]:
        await begin(db, user, run_request(thread=f"of {user['sub']}"))
        async with db.session(user) as connection:
            rows = await connection.fetch_all("select client_thread_id from agent.thread")
            return [row["client_thread_id"] for row in rows]

    async with connected(database.url, database_connections=3) as db:
        seen = await asyncio.gather(*(threads(db, user) for user in users))

    assert seen == [[f"of {user['sub']}"] for user in users]
