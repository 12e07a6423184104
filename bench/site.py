"""The site of the measurements: a model that costs almost no CPU, a real Postgres, and test users."""

import asyncio
import hashlib
import os
import shutil
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Final
from uuid import uuid4

import asyncpg
import jwt

from bench import counting
from bench.machine import OTHER_CORE, process
from local.accounts import SUPABASE_URL, SignIn
from local.children import Children
from local.database import postgres
from local.database.migrations import bootstrap, migrate
from local.database.postgres import Server
from local.environment import ROOT
from local.keys import Keys
from local.probe import free_port

FOLDER: Final = ROOT / ".local" / "bench"
#: The users; `reader` has very many threads.
USERS: Final = ("bench", "reader")
#: Assertions are valid for the gateway's header time-out; the bench renews them well before.
_FRESH_SECONDS: Final = 60


@dataclass
class Site:
    """What all contenders share."""

    model_port: int
    server: Server
    keys: Keys
    logs: Path
    users: dict[str, SignIn]
    _signed: dict[tuple[str, str, str, str], tuple[float, dict[str, str]]] = field(
        default_factory=dict
    )

    def database(self, name: str, login: str = postgres.SUPERUSER) -> str:
        """The URL of a contender's own database, which is created if it does not exist."""
        asyncio.run(self._create(name))
        return self.server.url(login, name)

    async def _create(self, name: str) -> None:
        connection = await asyncpg.connect(self.server.url(postgres.SUPERUSER, "template1"))
        try:
            if not await connection.fetchval("select 1 from pg_database where datname = $1", name):
                await connection.execute(f'create database "{name}"')
        except asyncpg.DuplicateDatabaseError:
            pass
        finally:
            await connection.close()

    def signed(self, user: str, function: str, method: str, path: str) -> dict[str, str]:
        """The headers with token and assertion, as the gateway sends them; it, too, reuses assertions."""
        key = (user, function, method, path)
        made_at, headers = self._signed.get(key, (0.0, {}))
        if time() - made_at > _FRESH_SECONDS:
            headers = self._sign(self.users[user], function, method, path)
            self._signed[key] = (time(), headers)
        return headers

    def _sign(self, login: SignIn, function: str, method: str, path: str) -> dict[str, str]:
        token, now = login.token(self.keys.user), int(time())
        digest = hashlib.sha256(token.encode()).digest()
        claims = {
            "iss": "auth-gateway",
            "aud": function,
            "sub": str(login.sub),
            "session_id": str(login.session_id),
            "ath": urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "htm": method,
            "htu": path,
            "iat": now,
            "exp": now + 140,
            "jti": str(uuid4()),
        }
        key = self.keys.gateway
        head = {"kid": key.jwk["kid"], "typ": "gw+jwt"}
        assertion = jwt.encode(claims, key.private.key, algorithm="ES256", headers=head)
        return {"authorization": f"Bearer {token}", "x-gateway-assertion": assertion}

    def settings(self, **more: str) -> dict[str, str]:
        """The environment of our functions."""
        return {
            "SUPABASE_DATABASE_URL": self.server.url("agent_api"),
            "SUPABASE_URL": SUPABASE_URL,
            "SUPABASE_JWKS": self.keys.user.public_keys,
            "GATEWAY_PUBLIC_KEYS": self.keys.gateway.public_keys,
            "INTERNAL_SIGNING_KEY": self.keys.internal.private_text,
            "INTERNAL_PUBLIC_KEYS": self.keys.internal.public_keys,
            "OPENAI_API_KEY": "bench",
            "OPENAI_MODEL": "bench",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{self.model_port}/v1",
            "HOST": "127.0.0.1",
            "LOG_LEVEL": "WARNING",
            "MAX_LIVE_RUNS": "5000",
            **more,
        }


@contextmanager
def site() -> Iterator[Site]:
    """A site with a new, migrated Postgres with fsync. All processes but the measured one share a core."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    logs, port = FOLDER / "logs", free_port()
    _clear(logs)
    os.sched_setaffinity(0, {OTHER_CORE})
    command = [sys.executable, "-m", "bench.upstream", str(port)]
    with (
        Children(logs) as children,
        process(command, {}, logs / "model.log", core=OTHER_CORE, folder=ROOT),
    ):
        server = postgres.start(
            children,
            FOLDER / "postgres",
            options={
                "shared_preload_libraries": "pg_stat_statements",
                "pg_stat_statements.track": "top",
                "max_connections": "300",
            },
        )
        users = {name: SignIn(name) for name in USERS}
        asyncio.run(_prepare(server, users))
        yield Site(port, server, Keys.of(FOLDER / "keys.json"), logs, users)


def _clear(logs: Path) -> None:
    # The rows of an earlier bench would change the figures.
    home = FOLDER / "postgres"
    if postgres.is_running(home):
        raise SystemExit(f"A bench runs in this checkout already: Postgres serves {home}.")
    shutil.rmtree(home / "data", ignore_errors=True)
    shutil.rmtree(logs, ignore_errors=True)


async def _prepare(server: Server, users: dict[str, SignIn]) -> None:
    await counting.prepare(server)
    await bootstrap(server)
    await migrate(server.url("postgres"))
    for user in users.values():
        await user.record(server.url("postgres"))
