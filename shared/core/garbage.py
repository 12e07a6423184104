"""Keeps the garbage collector away from the objects of start-up: modules and their classes live as long as the process.

Scanning them again and again took a fifth of the CPU of a streaming process (docs/decisions.md).
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: Net new containers before the youngest generation is collected; Python's default is 700.
_YOUNG: Final = 20_000


@contextmanager
def loading() -> Iterator[None]:
    """Collect nothing inside the block, and never scan the objects that exist at its end."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(_YOUNG, 20, 20)
        gc.enable()
