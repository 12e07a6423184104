"""An agent as a process executes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import BaseModel

from shared.agents.agent import Instructions
from shared.agents.tools import NoTools, Tools
from shared.models import ApiName, ModelClient, ModelSettings


class ModelChoice(NamedTuple):
    """A model that an agent may use: the client for its requests, their settings, and the API that it speaks."""

    client: ModelClient
    settings: ModelSettings
    api: ApiName = "chat_completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundAgent:
    """An agent with its models' clients, its tools and its limits. `models`: the first, and then its fallbacks.

    `max_turn_tries`: how often one model tries a turn before the run fails. `instructions_seconds`: how long the
    function of the instructions may take.
    """

    name: str
    instructions: str | Instructions
    models: Sequence[ModelChoice]
    tools: Tools = NoTools()  # noqa: RUF009  # it holds nothing
    output: type[BaseModel] | None = None
    max_turns: int = 12
    max_tool_calls: int = 64
    context_tokens: int = 128_000
    approval_hours: float = 168.0
    max_turn_tries: int = 3
    instructions_seconds: float = 10.0
    fingerprint: str = ""
