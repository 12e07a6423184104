"""Work that is shared by its callers and done once."""

import asyncio

import pytest

from shared.core.finishing import Once


class _Loads:
    """Fails `fails` times, then returns how often it was called."""

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


async def test_all_callers_get_the_result_of_one_execution() -> None:
    loads = _Loads()
    once = Once(loads.__call__)
    callers = [asyncio.ensure_future(once()) for _ in range(3)]
    await asyncio.sleep(0)
    loads.may_end.set()

    assert await asyncio.gather(*callers, once()) == [1, 1, 1, 1]
    assert once.is_done


async def test_a_cancelled_caller_does_not_cancel_the_others() -> None:
    loads = _Loads()
    once = Once(loads.__call__)
    first, second = asyncio.ensure_future(once()), asyncio.ensure_future(once())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    loads.may_end.set()

    assert first.cancelled()
    assert await second == 1


async def test_the_next_caller_repeats_work_that_failed() -> None:
    loads = _Loads(fails=1)
    loads.may_end.set()
    once = Once(loads.__call__)
    with pytest.raises(OSError, match="not yet"):
        await once()

    assert not once.is_done
    assert not await once.settled()
    assert await once() == 2
    assert await once() == 2


async def test_settled_does_not_wait_for_work_that_was_never_started() -> None:
    assert not await Once(_Loads().__call__).settled()
