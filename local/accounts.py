"""Test users of the local stack, and their tokens in the form of Supabase Auth's."""

import asyncio
import json
from dataclasses import dataclass, field
from time import time
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import asyncpg
import jwt

from local import CannotStart
from local.database import connect
from local.keys import SigningKey

SUPABASE_URL = "http://127.0.0.1:54321"
ISSUER = f"{SUPABASE_URL}/auth/v1"
#: The user of the commands, and the one that the page starts with: both show the same threads.
DEFAULT_USER = "alice"
_INSERT_USER = """
insert into auth.users (id, aud, role, email, raw_app_meta_data, is_anonymous)
values ($1, 'authenticated', 'authenticated', $2, cast($3 as jsonb), $4)
on conflict (id) do update set raw_app_meta_data = excluded.raw_app_meta_data
"""


@dataclass(frozen=True)
class SignIn:
    """A signed-in user. The same name is the same user; each sign-in is a new session."""

    user: str = DEFAULT_USER
    role: str = ""
    is_anonymous: bool = False
    seconds: int = 3600
    session_id: UUID = field(default_factory=uuid4)

    @property
    def sub(self) -> UUID:
        return uuid5(NAMESPACE_URL, f"{ISSUER}/{self.user}")

    @property
    def email(self) -> str:
        return "" if self.is_anonymous else f"{self.user}@example.com"

    @property
    def app_metadata(self) -> dict[str, str]:
        provider = {} if self.is_anonymous else {"provider": "email"}
        return {**provider, **({"role": self.role} if self.role else {})}

    @property
    def claims(self) -> dict[str, object]:
        """The user's claims, as functions store them."""
        return {
            "sub": str(self.sub),
            "role": "authenticated",
            "session_id": str(self.session_id),
            "is_anonymous": self.is_anonymous,
            "app_metadata": self.app_metadata,
        }

    def token(self, key: SigningKey, project_url: str = SUPABASE_URL) -> str:
        """The access token: a JWT for the header `Authorization: Bearer`, as that project issues it."""
        now = int(time())
        claims = {
            **self.claims,
            "iss": f"{project_url}/auth/v1",
            "aud": "authenticated",
            "email": self.email,
            "user_metadata": {},
            "aal": "aal1",
            "iat": now,
            "exp": now + self.seconds,
        }
        return jwt.encode(
            claims, key.private.key, algorithm="ES256", headers={"kid": key.jwk["kid"]}
        )

    async def record(self, url: str) -> None:
        """Insert the user and the session into the database; `url` has the login of the migrations."""
        connection = await connect(url)
        try:
            metadata = json.dumps(self.app_metadata)
            await connection.execute(
                _INSERT_USER, self.sub, self.email or None, metadata, self.is_anonymous
            )
            await connection.execute(
                "insert into auth.sessions (id, user_id) values ($1, $2)", self.session_id, self.sub
            )
        finally:
            await connection.close()


def sign_in(login: SignIn, owner_url: str) -> None:
    """Insert a test user.

    Raises:
        CannotStart: the URL's login lacks the privilege, or the database cannot be reached.
    """
    try:
        asyncio.run(login.record(owner_url))
    except asyncpg.InsufficientPrivilegeError:
        raise CannotStart(
            "The login of SUPABASE_DATABASE_URL may not write test users into auth.users: sign in as a user of your own"
            " project, or use the login postgres of `supabase start`."
        ) from None
    except (OSError, asyncpg.PostgresError) as error:
        raise CannotStart(f"The user cannot be written into auth.users: {error}.") from None
