"""`assistant` and `runner` on the stand-in, by the manifests that ship, with all times scaled by one factor."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import httpx

from local.probe import free_port
from shared.core.json import Json
from tests.doubles import ModelServer, Piece, Reply, calls, chunk, says
from tests.fixtures.database import TestDatabase
from tests.fixtures.environment import variables
from tests.fixtures.foreign import foreign
from tests.fixtures.functions import Person, run_input, settings_for
from tests.platform.broker import Acknowledges, Broker
from tests.platform.shipped import shipped, shipped_delivery
from tests.platform.stand_in import Platform

FACTOR: Final = 1 / 30
Way = Acknowledges | Literal["direct"]
#: Settings in seconds that belong to the platform; others, such as the tick, keep their defaults.
_PACE_SECONDS = 0.1


class Script:
    """A model that answers `<name> <turns> <seconds>` with so many turns of so many seconds, all but the last calling a
    tool. `requests` counts the requests for each turn of each task."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()

    def reply(self, request: Json) -> Reply:
        messages = request["messages"]
        last = max(nth for nth, message in enumerate(messages) if message["role"] == "user")
        task = messages[last]["content"]
        turn = sum(message["role"] == "assistant" for message in messages[last:])
        self.requests[task, turn] += 1
        _, turns, seconds = task.split()
        pieces: list[Piece] = []
        for nth in range(round(float(seconds) / _PACE_SECONDS)):
            pieces += [chunk({"content": f"{turn}.{nth} "}), _PACE_SECONDS]
        is_last = turn == int(turns) - 1
        return Reply([*pieces, *(says() if is_last else calls(("c", "look", "{}")))])


async def _look(_: Json) -> Json:
    return {"content": [{"type": "text", "text": "seen"}]}


@dataclass
class PlatformBundle:
    """The deployed functions, and the actions of a test."""

    platform: Platform
    database: TestDatabase
    script: Script
    client: httpx.AsyncClient
    person: Person
    #: How often a pod that held a run was killed by force, by the run's name.
    kills: Counter[str] = field(default_factory=Counter)

    async def begin(self, name: str, turns: int, seconds: float) -> None:
        """Start a run, and disconnect once its first text has arrived."""
        async with self.person.stream("POST", "/runs", _body_of(name, turns, seconds)) as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")

    async def begin_in_background(self, name: str, turns: int, seconds: float) -> None:
        body = _body_of(name, turns, seconds, forwardedProps={"background": True})
        assert (await self.person.request("POST", "/runs", body)).status_code == 202

    async def stream(self, name: str, turns: int, seconds: float) -> list[Json]:
        """All frames of a new run on one connection."""
        return await self.person.run(_body_of(name, turns, seconds))

    async def delete_all(self, *, force: bool = False) -> None:
        """Delete every pod that could take a request."""
        for name in ("assistant", "runner"):
            for pod in self.platform.pods(name):
                if pod.state == "ready":
                    if force:
                        self.kills.update(run for run, _ in pod.holds())
                    await self.platform.delete(pod, force=force)

    async def sweep(self) -> None:
        """Sweep, as a schedule does."""
        await self.client.post(self.platform.url("runner") + "/sweep")

    async def runs(self) -> dict[str, tuple[str, int]]:
        """Each run's status and attempt."""
        async with self.database.owner() as owner:
            rows = await owner.fetch(
                "select run.client_run_id, status, coalesce(lease.attempt, run.attempt) as attempt"
                " from agent.run left join agent.lease on lease.run_id = run.id"
            )
        return {row["client_run_id"]: (row["status"], row["attempt"]) for row in rows}

    async def ended(self, seconds: float) -> dict[str, tuple[str, int]]:
        """Wait until all runs have ended."""
        async with asyncio.timeout(seconds):
            while any(s in ("queued", "in_progress") for s, _ in (await self.runs()).values()):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        return await self.runs()

    def requests(self, name: str) -> list[int]:
        """How many requests the model got for each turn of a run."""
        return [
            n for (task, _), n in sorted(self.script.requests.items()) if task.split()[0] == name
        ]


def _body_of(name: str, turns: int, seconds: float, **more: Json) -> Json:
    return run_input(f"{name} {turns} {seconds}", run=name, thread=name, **more)


@asynccontextmanager
async def deployed(
    folder: Path, database: TestDatabase, model: ModelServer, way: Way, **settings: str
) -> AsyncIterator[PlatformBundle]:
    """`assistant` and `runner`, with a Broker between them or without."""
    script = Script()
    model.answer_all = script.reply
    async with AsyncExitStack() as stack:
        tool = {"name": "look", "inputSchema": {"type": "object"}}
        tools, _ = await stack.enter_async_context(foreign(_look, tool))
        platform = await stack.enter_async_context(Platform(folder))
        runner_port = free_port()
        runner = f"http://127.0.0.1:{runner_port}"
        sink = {"RUNNER_URL": f"{runner}/"}
        if way != "direct":
            broker = Broker(f"{runner}/", way, shipped_delivery(FACTOR), f"{runner}/sweep")
            await stack.enter_async_context(broker)
            sink = {"K_SINK": broker.url}
        plain = variables(settings_for(database, model, log_level="INFO"))
        servers = {"world": {"url": tools, "approval": "never", "repeatable": ["look"]}}
        plain |= {**sink, "MCP_SERVERS": json.dumps(servers), "TAKEOVER_GRACE_SECONDS": "0.1"}
        for name, port in (("runner", runner_port), ("assistant", 0)):
            rules, own = shipped(name, FACTOR)
            await platform.deploy(name, rules, {**plain, **own, **settings}, port=port)
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=60))
        person = Person(client, platform.url("assistant"))
        await database.add_user(person.sub)
        yield PlatformBundle(platform, database, script, client, person)
