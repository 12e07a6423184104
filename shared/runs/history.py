"""Which of a thread's newest items a model's requests begin with."""

from collections.abc import Sequence
from typing import Final
from zlib import crc32

from shared.core import Item

#: How many of a thread's newest items a holder gets; the model gets those that fit its context.
HISTORY_ITEMS: Final = 1000
#: The oldest of them, among which the first one is chosen.
_CHOICE: Final = 600


def with_steady_start(items: Sequence[Item]) -> list[Item]:
    """The items from one message of the user on, which stays the first one for many runs.

    A thread with more items than a holder gets would begin with another item in each run, and no two requests to the
    model would begin alike. Chosen is the message with the smallest hash among the oldest items: the same one until it
    is no longer among the newest of the thread, or until a message with a smaller hash is old enough.
    """
    if len(items) < HISTORY_ITEMS:
        return [*items]
    oldest = enumerate(items[:_CHOICE])
    starts = [n for n, i in oldest if i.kind == "message" and i.data["role"] == "user"]
    return [*items[min(starts, key=lambda n: crc32(items[n].key.encode()), default=0) :]]
