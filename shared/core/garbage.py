"""The garbage collector, kept away from what start-up makes: modules and their classes stay for good.

Looking through them again and again was a fifth of the CPU of a process that streams (docs/decisions.md).
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: Net new containers before a look at the young ones; 700 is Python's own.
_YOUNG: Final = 20_000


@contextmanager
def loading() -> Iterator[None]:
    """Load what stays: nothing is collected meanwhile, and what is there by the end is never looked at again."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(_YOUNG, 20, 20)
        gc.enable()
