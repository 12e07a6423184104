"""Variables that look like a setting with a slip in its name. They would be ignored without a word."""

from collections.abc import Collection
from dataclasses import fields
from difflib import SequenceMatcher, get_close_matches
from typing import Final

from shared.core import Settings

#: How alike two names are, from 0 to 1, so that one may be a slip of the other, and so that it may be meant.
_ALIKE: Final = 0.86
_MEANT: Final = 0.8


def misspelled(names: Collection[str], others: Collection[str] = ()) -> dict[str, str]:
    """A sentence for each name that resembles a setting but is none. `others`: settings that no function has."""
    known = {each.name.upper() for each in fields(Settings) if not each.metadata} | {*others}
    prefixes = tuple(p for each in fields(Settings) if (p := each.metadata.get("prefix")))
    sentences = {}
    for name in names:
        if name in known or name.startswith(prefixes):
            continue
        meant = get_close_matches(name.upper(), known, n=2, cutoff=_MEANT)
        if meant and (_is_slip(name.upper(), meant[0])):
            sentences[name] = f"{name} is no setting; did you mean {' or '.join(meant)}?"
    return sentences


def _is_slip(name: str, meant: str) -> bool:
    """Whether letters differ, or a word is missing, as in OPENAI_KEY."""
    is_alike = SequenceMatcher(None, name, meant).ratio() >= _ALIKE
    return is_alike or {*name.split("_")} < {*meant.split("_")}
