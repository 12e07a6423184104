"""The names of tools as models' APIs take them: 1 to 64 ASCII letters, digits, `_` and `-`.

An agent, an app and a server name their tools as they like. A model gets names that are made from those, and its calls
are translated back.
"""

import re
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

_LENGTH: Final = 64
_VALID: Final = re.compile(rf"[a-zA-Z0-9_-]{{1,{_LENGTH}}}\Z")
_INVALID_CHARACTER: Final = re.compile(r"[^a-zA-Z0-9_-]")


def model_name(name: str) -> str:
    """The name for a model: `look.up` becomes `look_up`. What would lose more than punctuation ends with a hash."""
    if _VALID.match(name):
        return name
    readable = _INVALID_CHARACTER.sub("_", name)
    is_readable = name.isascii() and 0 < len(name) <= _LENGTH and readable.strip("_")
    return readable if is_readable else hashed_name(name)


def hashed_name(name: str) -> str:
    """A name for a model that no other name has: what is readable of it, and 8 hex digits of its SHA-256."""
    digits = sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    readable = _INVALID_CHARACTER.sub("_", name)[: _LENGTH - 1 - len(digits)].strip("_")
    return f"{readable or 'tool'}_{digits}"


def model_names(names: Iterable[str]) -> dict[str, str]:
    """The names for a model of those that need one, by name. No two tools get the same.

    The result depends only on the set of names, so that a thread's calls keep theirs.
    """
    all_names = {*names}
    made = {name: model_name(name) for name in all_names if not _VALID.match(name)}
    counts = Counter(made.values())
    return {
        name: new if counts[new] == 1 and new not in all_names else hashed_name(name)
        for name, new in made.items()
    }
