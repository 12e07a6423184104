"""A check of one thing that a function needs, and how checks run: one after the other, one line each."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from shared.core import InvalidSettings

#: The first word of a sentence that is no name, as SUPABASE_URL and OpenAI are.
_WORD: Final = re.compile(r"\A[A-Z][a-z]*(?= )")


class Failed(Exception):
    """The message is one sentence: what is wrong, and what to do. It shows no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`run` returns a note, or raises Failed or InvalidSettings. `needs`: the check without which it is not tried."""

    name: str
    run: Callable[[], Awaitable[str]]
    seconds: float = 15.0
    needs: str = ""


async def run_checks(checks: Iterable[Check], write: Callable[[str], object]) -> bool:
    """Whether all succeed. Each name is written before its check starts, and the line ends with the outcome."""
    failed: set[str] = set()
    for check in checks:
        write(f"{check.name:<20} ")
        if check.needs in failed:
            outcome, is_ok = f"not tried, because of: {check.needs}", False
        else:
            outcome, is_ok = await _outcome(check)
        if not is_ok:
            failed.add(check.name)
        write(f"{outcome}\n")
    return not failed


async def _outcome(check: Check) -> tuple[str, bool]:
    try:
        async with asyncio.timeout(check.seconds):
            note = await check.run()
    except (Failed, InvalidSettings) as error:
        return f"FAILED: {_continued(str(error))}", False
    except TimeoutError:
        return f"FAILED: no answer within {check.seconds:g} s.", False
    except Exception as error:
        # Without its text, which may have parts of an address or a key.
        return f"FAILED: {type(error).__name__}, of which this check knows no remedy.", False
    return f"ok, {note}" if note else "ok", True


def _continued(sentence: str) -> str:
    """A sentence in one line, after a colon: in lower case, unless it begins with a name."""
    text = " ".join(sentence.split())
    return _WORD.sub(lambda word: word[0].lower(), text)
