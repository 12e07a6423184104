"""Variables that look like a setting with a slip in its name. They would be ignored without a word."""

from collections.abc import Collection
from dataclasses import fields
from difflib import get_close_matches
from typing import Final

from shared.core import Settings

#: How alike two names are, from 0 to 1, so that one may be a slip of the other: OPENAI_KEY and OPENAI_API_KEY are.
_ALIKE: Final = 0.83


def misspelled(names: Collection[str], others: Collection[str] = ()) -> dict[str, str]:
    """A sentence for each name that is no setting but like one. `others` are names of settings that no function has."""
    known = {each.name.upper() for each in fields(Settings) if not each.metadata} | {*others}
    prefixes = tuple(p for each in fields(Settings) if (p := each.metadata.get("prefix")))
    sentences = {}
    for name in names:
        if name in known or name.startswith(prefixes):
            continue
        if meant := get_close_matches(name.upper(), known, n=2, cutoff=_ALIKE):
            sentences[name] = f"{name} is no setting; did you mean {' or '.join(meant)}?"
    return sentences
