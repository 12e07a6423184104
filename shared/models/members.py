"""Members of a request's body that OpenAI's APIs have in common."""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from shared.core import Json
from shared.models.parameters import parameters_of
from shared.models.requests import ModelRequest, NamedTool, ToolSpecification

_OPENAI: Final = "api.openai.com"


def cache_members(request: ModelRequest, base_url: str) -> Json:
    """The member that sends requests which begin alike to the same cache. Only OpenAI is known to take it.

    `base_url` empty: OpenAI's own.
    """
    host = urlsplit(base_url).hostname if base_url else _OPENAI
    is_openai = host == _OPENAI or (host or "").endswith(f".{_OPENAI}")
    return present(prompt_cache_key=request.cache_key) if is_openai else {}


def tool_members(
    request: ModelRequest,
    tool: Callable[[ToolSpecification], Json],
    named_tool: Callable[[str], Json],
) -> Json:
    """The tools and how the model may choose among them; no member without tools, which APIs refuse.

    `tool` converts a tool to the API's form, and `named_tool` the choice of one tool.
    """
    if not request.tools:
        return {}
    settings = request.settings
    choice = settings.tool_choice
    tools = [each._replace(parameters=parameters_of(each.parameters)) for each in request.tools]
    return {
        "tools": [tool(each) for each in tools],
        **present(
            tool_choice=named_tool(choice.name) if isinstance(choice, NamedTool) else choice,
            parallel_tool_calls=settings.parallel_tool_calls,
        ),
    }


def present(**members: Any) -> Json:
    """The members that are not None: the provider's default applies to the others."""
    return {name: value for name, value in members.items() if value is not None}
