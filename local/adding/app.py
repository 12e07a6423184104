"""The app to add to: its folder `supabase`, and the checkout that the files come from."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local.environment import ROOT

#: The settings' names in the order in which the Supabase CLI looks for them; it reads only one of them.
_CONFIGS: Final = ("config.json", "config.jsonc", "config.toml")
MIGRATIONS: Final = "migrations"
GATEWAY: Final = "functions/auth-gateway"


class CannotAdd(Exception):
    """One sentence that says why nothing was changed, and what to do."""


@dataclass(frozen=True)
class App:
    """A Supabase app's folder `supabase`, or that of this checkout, which has the same form."""

    folder: Path

    @property
    def config(self) -> Path:
        """The settings that the CLI reads, which may not exist."""
        found = (self.folder / name for name in _CONFIGS if (self.folder / name).is_file())
        return next(found, self.folder / _CONFIGS[-1])

    @property
    def migrations(self) -> Path:
        return self.folder / MIGRATIONS

    @property
    def gateway(self) -> Path:
        return self.folder / GATEWAY


def checkout(root: Path = ROOT) -> App:
    """What this checkout ships."""
    return App(root / "supabase")


def find_app(path: Path, ours: App) -> App:
    """The app whose folder `supabase` this is, or in whose root it is.

    Raises:
        CannotAdd: there is none, or it is this checkout.
    """
    if not path.is_dir():
        raise CannotAdd(f"There is no folder {path}.")
    within = App((path / "supabase").resolve())
    app = within if within.config.is_file() else App(path.resolve())
    if app.folder == ours.folder.resolve():
        raise CannotAdd(
            f"{path} is the folder of this checkout; name the folder `supabase` of your app."
        )
    if not app.config.is_file():
        raise CannotAdd(
            f"Neither {path} nor {path / 'supabase'} has a {app.config.name}; run `supabase init` in the app first."
        )
    return app


def fingerprint(content: bytes) -> str:
    """The SHA-256 of a text file. Line ends do not count, because Git changes them on Windows."""
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()


def has_content(path: Path, content: bytes) -> bool:
    """Whether the file exists with this text."""
    return path.exists() and fingerprint(path.read_bytes()) == fingerprint(content)
