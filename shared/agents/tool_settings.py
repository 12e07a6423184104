"""The settings that a tool declares: it gets these, and no others."""

from dataclasses import fields

from shared.agents.context import ToolError
from shared.agents.function_tool import FunctionTool
from shared.core import Settings

#: Settings with a field of their own; any other name is a tool's secret.
_FIELDS = frozenset(field.name for field in fields(Settings))


def settings_of(tool: FunctionTool, settings: Settings) -> dict[str, str]:
    """The values of the declared settings, by name; an optional one that is not set is empty.

    Raises:
        ToolError: a required one is not set.
    """
    names = (*tool.required_settings, *tool.optional_settings)
    values = {name: _value(name, settings) for name in names}
    if missing := [_variable(name) for name in tool.required_settings if not values[name]]:
        raise ToolError(f"This tool is not set up here: {', '.join(missing)} is not set.")
    return values


def _value(name: str, settings: Settings) -> str:
    if name in _FIELDS:
        return str(getattr(settings, name))
    return settings.tool_secrets.get(name.upper(), "")


def _variable(name: str) -> str:
    return name.upper() if name in _FIELDS else f"TOOL_SECRET_{name.upper()}"
