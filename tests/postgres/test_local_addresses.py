"""`python -m local` reads an address of Postgres as the functions do."""

import pytest

from local import CannotStart
from local.accounts import SignIn
from local.database.migrations import migrate, outdated
from tests.fixtures.database import TestDatabase


@pytest.mark.parametrize("query", ["pgbouncer=true&connect_timeout=15", "ssl=false&schema=public"])
async def test_migrations_are_applied_through_a_copied_address(
    database: TestDatabase, query: str
) -> None:
    url = f"{database.owner_url.replace('postgresql', 'postgresql+asyncpg', 1)}?{query}"

    assert await outdated(url) is None
    assert await migrate(url) == []
    await SignIn("ann").record(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://a:canary@127.0.0.1:1/x", "Nothing listens at the host"),
        ("postgresql://a:canary@127.0.0.1:1/x?whatever=1", "unknown parameter whatever"),
        ("postgresql://a:[YOUR-PASSWORD]@127.0.0.1:1/x", "placeholder"),
    ],
)
async def test_an_address_that_cannot_be_used_is_one_sentence(url: str, reason: str) -> None:
    with pytest.raises(CannotStart, match=reason) as refused:
        await migrate(url)
    assert "canary" not in str(refused.value)


async def test_a_wrong_password_is_one_sentence(database: TestDatabase) -> None:
    with pytest.raises(CannotStart, match="is refused: the password is wrong"):
        await migrate(database.owner_url.replace("postgres:", "postgres:canary", 1))
