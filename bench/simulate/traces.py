"""Days of requests. Each is random, and the same for the same seed."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from bench.simulate import DAY, Request

HOUR: Final = 3600.0


@dataclass(frozen=True)
class Trace:
    """A day's requests, for each of the agents that get any."""

    name: str
    agents: tuple[tuple[Request, ...], ...]

    @property
    def requests(self) -> int:
        return sum(map(len, self.agents))


@dataclass(frozen=True)
class Chat:
    """How a user chats. Between an answer's end and the next message is a log-normal gap.

    With a spread of 1, two thirds of the gaps are between 0.37 and 2.7 times the median.
    """

    messages: int = 5
    median_gap: float = 45.0
    spread: float = 1.0
    answer: float = 8.0

    def at(self, random: Random, start: float) -> Iterator[Request]:
        """The messages of a chat that starts then. No user waits for a pod, so that all settings get the same day."""
        for _ in range(self.messages):
            yield Request(start, self.answer)
            start += self.answer + random.lognormvariate(math.log(self.median_gap), self.spread)


def idle_chat(
    seed: int = 1, *, hours: float = 24, chat: Chat | None = None, chats: int = 80
) -> Trace:
    """Twenty users with four chats a day each, at any time of the day."""
    random = _seeded(seed)
    at = [random.uniform(0, hours * HOUR) for _ in range(chats)]
    return Trace("idle-heavy chat", (_day(random, at, chat or Chat()),))


def office(seed: int = 1) -> Trace:
    """A thousand chats between 8 and 18 o'clock, with peaks at 10 and 15, and twenty in the night."""
    random = _seeded(seed)
    peaks = [random.gauss(random.choice((10, 15)), 1.5) * HOUR for _ in range(1000)]
    nights = [random.uniform(0, DAY) for _ in range(20)]
    return Trace("office hours", (_day(random, [at % DAY for at in peaks] + nights, Chat()),))


def burst(seed: int = 1) -> Trace:
    """Eighty chats at any time, and a thousand that start within a minute at noon; answers of 20 s."""
    random = _seeded(seed)
    at = [random.uniform(0, DAY) for _ in range(80)]
    at += [12 * HOUR + random.uniform(0, 60) for _ in range(1000)]
    return Trace("burst", (_day(random, at, Chat(answer=20)),))


def long_tail(seed: int = 1, agents: int = 200) -> Trace:
    """Two hundred agents. The busiest has forty chats a day, the n-th one an n-th of that."""
    random = _seeded(seed)

    def day(rank: int) -> tuple[Request, ...]:
        chats = _poisson(random, 40 / rank)
        return _day(random, [random.uniform(0, DAY) for _ in range(chats)], Chat())

    return Trace("long tail", tuple(day(rank) for rank in range(1, agents + 1)))


TRACES: Final[dict[str, Callable[[], Trace]]] = {
    "idle-chat": idle_chat,
    "office": office,
    "burst": burst,
    "long-tail": long_tail,
}


def _seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311


def _day(random: Random, starts: list[float], chat: Chat) -> tuple[Request, ...]:
    return tuple(sorted(request for start in sorted(starts) for request in chat.at(random, start)))


def _poisson(random: Random, mean: float) -> int:
    """How many events there are in a time in which `mean` are expected."""
    count, waited = 0, random.expovariate(1)
    while waited < mean:
        count, waited = count + 1, waited + random.expovariate(1)
    return count
