"""The agents of a play, and the model servers: one for each agent, so that a request of the wrong agent is noticed."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from functions.assistant.app import agent as assistant
from shared.agents import Agent
from shared.core.json import Json
from tests.chaos.client import StartedRun
from tests.chaos.functions.trips.app import agent as trips
from tests.chaos.record import Record
from tests.chaos.script import Script, due
from tests.doubles import ModelServer, model_server

AGENTS: Final = {"assistant": assistant, "trips": trips}
#: The model of an agent that names none.
_DEFAULT_MODEL: Final = "chaos"


@dataclass(frozen=True)
class Sender:
    """What a request to a model shows of the agent that sent it. `server`: the agent whose model server it was."""

    server: str
    model: str
    instructions: str

    def __str__(self) -> str:
        return f"{self.model} at the server of {self.server} with {self.instructions[:30]!r}"


class Models:
    """The model servers, by agent."""

    def __init__(self, servers: dict[str, ModelServer]) -> None:
        self._servers = servers

    @property
    def settings(self) -> dict[str, str]:
        """Where the functions find the servers, as environment variables."""
        return {
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": self._servers["assistant"].url,
            "OPENAI_MODEL": _DEFAULT_MODEL,
            "MODEL_PROVIDER_SECOND_API_KEY": "none",
            "MODEL_PROVIDER_SECOND_BASE_URL": self._servers["trips"].url,
        }

    def senders(self) -> dict[str, list[Sender]]:
        """The sender of each request, by the task that the request is for."""
        senders: dict[str, list[Sender]] = defaultdict(list)
        for name, server in self._servers.items():
            for request in server.requests:
                task, _ = due(request["messages"])
                senders[task].append(_sender(name, request))
        return senders


def _sender(server: str, request: Json) -> Sender:
    return Sender(server, request["model"], request["messages"][0]["content"])


def expected_sender(name: str) -> Sender:
    """What every request of an agent shows."""
    agent: Agent = AGENTS[name]
    return Sender(name, agent.model.name or _DEFAULT_MODEL, str(agent.instructions))


def other_agents(
    one: StartedRun, record: Record, senders: dict[str, list[Sender]]
) -> Iterable[str]:
    """A run is of the agent that its client chose, and so is each request for it, whichever process sent it."""
    if (recorded := record.runs[one.client_run_id]["agent"]) != one.agent:
        yield f"a run of {recorded}, not of {one.agent}"
    expected = expected_sender(one.agent)
    yield from (f"{sender}, not {expected}" for sender in senders[one.task] if sender != expected)


@asynccontextmanager
async def models(script: Script) -> AsyncIterator[Models]:
    """The running servers. All follow one script."""
    async with AsyncExitStack() as stack:
        servers = {name: await stack.enter_async_context(model_server()) for name in AGENTS}
        for server in servers.values():
            server.answer_all = script.reply
        yield Models(servers)
