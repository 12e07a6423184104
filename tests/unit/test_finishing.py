"""Work that is done once, and work that is seen to its end."""

import asyncio

import pytest

from shared.core.finishing import Once


class _Loads:
    """Fails as often as it was told to, then counts."""

    def __init__(self, fails: int = 0) -> None:
        self.fails = fails
        self.began = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> int:
        self.began += 1
        await self.may_end.wait()
        if self.began <= self.fails:
            raise OSError("not yet")
        return self.began


async def test_all_who_ask_get_what_was_done_once() -> None:
    loads = _Loads()
    once = Once(loads.__call__)
    asked = [asyncio.ensure_future(once()) for _ in range(3)]
    await asyncio.sleep(0)
    loads.may_end.set()

    assert await asyncio.gather(*asked, once()) == [1, 1, 1, 1]
    assert once.is_done


async def test_who_gives_up_stops_nobody_else() -> None:
    loads = _Loads()
    once = Once(loads.__call__)
    first, second = asyncio.ensure_future(once()), asyncio.ensure_future(once())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    loads.may_end.set()

    assert first.cancelled()
    assert await second == 1


async def test_what_failed_is_done_again_by_whoever_asks_next() -> None:
    loads = _Loads(fails=1)
    loads.may_end.set()
    once = Once(loads.__call__)
    with pytest.raises(OSError, match="not yet"):
        await once()

    assert not once.is_done
    assert not await once.settled()
    assert await once() == 2
    assert await once() == 2


async def test_nothing_that_was_never_begun_is_waited_for() -> None:
    assert not await Once(_Loads().__call__).settled()
