"""What the tests of the stand-in share: one small function and its clients."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import httpx

from tests.platform.pod import Pod
from tests.platform.rules import Rules
from tests.platform.stand_in import Platform

#: A window takes 0.2 s of a test, a tick 0.02.
FACTOR = 1 / 100
#: How late things are on a busy machine with two cores.
LATE = 1.5


def command(_: str) -> Sequence[str]:
    return sys.executable, "-m", "tests.platform.app"


async def until(holds: Callable[[], object], *, seconds: float = 10) -> None:
    """Wait until a condition of another process or of the platform holds."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  # other processes have no event
            await asyncio.sleep(0.005)


async def ready_pod(platform: Platform, rules: Rules, **environment: str) -> Pod:
    """The only pod of a function; a request wakes it if there is none."""
    url = await platform.deploy("small", rules, environment)
    if rules.min_scale:
        await until(lambda: [pod.state for pod in platform.pods("small")] == ["ready"])
        return platform.pods("small")[0]
    async with httpx.AsyncClient(timeout=20) as client:
        assert (await client.get(url)).text == "0\nend"
    [pod] = platform.pods("small")
    return pod


class Streamed:
    """A response as its client sees it."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def line(self) -> str:
        return await anext(self._lines)

    async def rest(self) -> list[str]:
        return [line async for line in self._lines]


@asynccontextmanager
async def streaming(client: httpx.AsyncClient, url: str) -> AsyncIterator[Streamed]:
    """A response, once its first line has come."""
    async with client.stream("GET", url) as response:
        streamed = Streamed(response)
        await streamed.line()
        yield streamed
