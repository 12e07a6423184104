"""What an agent is: its declaration, its tools, and the loop that executes its runs."""

import importlib
from typing import TYPE_CHECKING, Any

from shared.agents.context import (
    Denied,
    InputRequired,
    Progress,
    RunContext,
    ToolContext,
    ToolError,
    ToolUser,
)
from shared.agents.failures import failure_of
from shared.agents.forms import contents_of, question_of
from shared.agents.function_tool import FunctionTool, tool, tools_of
from shared.agents.sources import McpServers, SharedTools, mcp, shared_tools
from shared.agents.tool_settings import settings_of
from shared.agents.tools import (
    Approval,
    CallRequest,
    NoTools,
    Question,
    Result,
    Tool,
    Tools,
    shorten,
)
from shared.database import UserSession, WriteRejected

if TYPE_CHECKING:
    from shared.agents.agent import Agent, Instructions
    from shared.agents.bound import BoundAgent, ModelChoice
    from shared.agents.engine import execute_run
    from shared.agents.function_toolbox import FunctionTools
    from shared.agents.model import Model
    from shared.agents.schemas import fault, load_validation
    from shared.agents.toolboxes import CombinedTools

#: What only agents need, imported on use: the function `tools` has tools and no agent.
_OF_AGENTS = {
    "Agent": "agent",
    "BoundAgent": "bound",
    "CombinedTools": "toolboxes",
    "FunctionTools": "function_toolbox",
    "Instructions": "agent",
    "Model": "model",
    "ModelChoice": "bound",
    "execute_run": "engine",
    "fault": "schemas",
    "load_validation": "schemas",
}

__all__ = [
    "Agent",
    "Approval",
    "BoundAgent",
    "CallRequest",
    "CombinedTools",
    "Denied",
    "FunctionTool",
    "FunctionTools",
    "InputRequired",
    "Instructions",
    "McpServers",
    "Model",
    "ModelChoice",
    "NoTools",
    "Progress",
    "Question",
    "Result",
    "RunContext",
    "SharedTools",
    "Tool",
    "ToolContext",
    "ToolError",
    "ToolUser",
    "Tools",
    "UserSession",
    "WriteRejected",
    "contents_of",
    "execute_run",
    "failure_of",
    "fault",
    "load_validation",
    "mcp",
    "question_of",
    "settings_of",
    "shared_tools",
    "shorten",
    "tool",
    "tools_of",
]


def __getattr__(name: str) -> Any:
    if name in _OF_AGENTS:
        return getattr(importlib.import_module(f"shared.agents.{_OF_AGENTS[name]}"), name)
    raise AttributeError(name)
