"""Signs of life: when one is due, and what the wait for it costs."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from shared.core.events import RunEvent
from shared.runs.feed import Feed
from shared.runs.keep_alive import KeepAlive, Silence

_FEW_STEPS = 3


class CountingKeepAlive(KeepAlive):
    """Counts how often each follower started to wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.waits: Counter[Silence] = Counter()

    @contextmanager
    def watching(self) -> Iterator[Silence]:
        with super().watching() as silence:
            resolve = silence.wakes

            def count(waiter: asyncio.Future[None]) -> None:
                self.waits[silence] += 1
                resolve(waiter)

            silence.wakes = count  # type: ignore[method-assign]  # counts
            yield silence


class Followers:
    """Followers of one feed, and the number of events in each part that each of them got."""

    def __init__(self, count: int, keep_alive: CountingKeepAlive) -> None:
        self.feed, self.keep_alive = Feed(base=0), keep_alive
        self.got: list[list[int]] = [[] for _ in range(count)]
        self.got_three = asyncio.Event()
        self._tasks = [asyncio.ensure_future(self._follow(each)) for each in self.got]

    async def _follow(self, got: list[int]) -> None:
        async for news in self.feed.after(0, self.keep_alive):
            got.append(len(news))
            if len(got) == 3:
                self.got_three.set()

    async def settle(self) -> None:
        for _ in range(_FEW_STEPS):
            await asyncio.sleep(0)

    async def beat(self, times: int = 1) -> None:
        for _ in range(times):
            self.keep_alive._beat()
            await self.settle()

    async def close(self) -> None:
        self.feed.close()
        await asyncio.gather(*self._tasks)


async def test_each_silent_follower_wakes_once_per_keep_alive_however_many_follow_its_run() -> None:
    followers = Followers(25, CountingKeepAlive(60))
    await followers.settle()

    await followers.beat(6)

    assert followers.got == [[0, 0, 0]] * 25
    assert list(followers.keep_alive.waits.values()) == [4] * 25
    await followers.close()


async def test_an_event_postpones_the_keep_alive() -> None:
    followers = Followers(1, CountingKeepAlive(60))
    await followers.settle()
    await followers.beat()

    followers.feed.publish([RunEvent(1, 1, "item.delta", "i", {})])
    await followers.settle()
    await followers.beat()
    assert followers.got == [[1]]
    await followers.beat()
    assert followers.got == [[1, 0]]
    await followers.close()


async def test_the_timer_runs_while_a_stream_is_open_and_nothing_is_left_after_it() -> None:
    followers = Followers(2, CountingKeepAlive(0.002))
    async with asyncio.timeout(10):
        await followers.got_three.wait()
    assert followers.keep_alive._timer

    await followers.close()

    assert followers.keep_alive._timer is None
    assert not followers.feed._waiters
