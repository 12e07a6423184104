"""What an agent is, and the loop that executes its runs."""

from shared.agents.assistant import assistant
from shared.agents.engine import execute_run
from shared.agents.loop import Agent
from shared.agents.schemas import load_validation
from shared.agents.tools import Approval, NoTools, Question, Result, Tool

__all__ = [
    "Agent",
    "Approval",
    "NoTools",
    "Question",
    "Result",
    "Tool",
    "assistant",
    "execute_run",
    "load_validation",
]
