"""The keys of the local stack, generated once.

Supabase Auth's key signs users' tokens, the gateway's its assertions, and the functions' their calls of each other.
"""

import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric import ec
from jwt import PyJWK
from jwt.algorithms import ECAlgorithm

from local import CannotStart

_PRIVATE = "d"
_NAMES = ("user", "gateway", "internal")


@dataclass(frozen=True)
class SigningKey:
    """A private ES256 key, as a JWK with a `kid`."""

    jwk: dict[str, str]

    @classmethod
    def generate(cls, name: str) -> Self:
        key = ec.generate_private_key(ec.SECP256R1())
        jwk = ECAlgorithm.to_jwk(key, as_dict=True)
        return cls({**jwk, "alg": "ES256", "use": "sig", "kid": f"{name}-{secrets.token_hex(4)}"})

    @property
    def private(self) -> PyJWK:
        return PyJWK(self.jwk)

    @property
    def private_text(self) -> str:
        return json.dumps(self.jwk)

    @property
    def public_keys(self) -> str:
        """The text of a JWKS with the public half."""
        return json.dumps({"keys": [{k: v for k, v in self.jwk.items() if k != _PRIVATE}]})


@dataclass(frozen=True)
class Keys:
    """The keys of a stack."""

    user: SigningKey
    gateway: SigningKey
    internal: SigningKey

    @classmethod
    def of(cls, file: Path) -> Self:
        """The keys in the file. A missing file is created, readable by its owner only.

        Raises:
            CannotStart: it is no file of keys.
        """
        stored = _read(file) if file.exists() else {}
        if not stored.keys() >= set(_NAMES):
            # The keys of an older file stay, so that issued tokens stay valid.
            fresh = {name: SigningKey.generate(name).jwk for name in _NAMES}
            file.unlink(missing_ok=True)
            _write_once(file, {**fresh, **stored})
            stored = json.loads(file.read_text())
        return cls(**{name: SigningKey(stored[name]) for name in _NAMES})


def _read(file: Path) -> dict[str, dict[str, str]]:
    try:
        stored = json.loads(file.read_text())
    except ValueError:
        stored = None
    if not isinstance(stored, dict):
        raise CannotStart(f"{file} has no keys: delete it, and the next start makes new ones.")
    return stored


def _write_once(file: Path, content: dict[str, dict[str, str]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        json.dump(content, opened)
    # If two processes generate keys at once, the first one wins.
    with suppress(FileExistsError):
        os.link(draft, file)
    draft.unlink()
