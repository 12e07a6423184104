"""What a model is offered: at most as many tools as it takes, under names that its API takes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from shared.core import Item
from shared.models.events import ModelEvent, ToolCallDelta
from shared.models.names import model_names
from shared.models.requests import ModelRequest, NamedTool, ToolSpecification


class Offer(NamedTuple):
    """A request as it is sent. `own_names`: of the tools that the model knows by another name, by that name.

    `left_out`: the names of the tools for which there was no room.
    """

    request: ModelRequest
    own_names: dict[str, str]
    left_out: Sequence[str]

    def restore(self, events: list[ModelEvent]) -> list[ModelEvent]:
        """The events, whose calls have the tools' own names."""
        for event in events:
            if isinstance(event, ToolCallDelta) and event.name:
                event.name = self.own_names.get(event.name, event.name)
        return events


def offer(request: ModelRequest, most_tools: int) -> Offer:
    """The request with the tools that have the lowest `priority`, and with names for the model."""
    tools = _kept(request.tools, most_tools)
    left_out = {tool.name for tool in request.tools} - {tool.name for tool in tools}
    # Calls of the thread may be of tools that are gone.
    used = (item.data["name"] for item in request.items if item.kind == "tool_call")
    names = model_names([*(tool.name for tool in tools), *used])
    if not names and not left_out:
        return Offer(request, {}, ())
    choice = request.settings.tool_choice
    if isinstance(choice, NamedTool):
        choice = NamedTool(names.get(choice.name, choice.name))
    sent = replace(
        request,
        items=[_renamed(item, names) for item in request.items],
        tools=[tool._replace(name=names.get(tool.name, tool.name)) for tool in tools],
        settings=replace(request.settings, tool_choice=choice),
    )
    return Offer(sent, {new: own for own, new in names.items()}, sorted(left_out))


def _kept(tools: Sequence[ToolSpecification], most: int) -> Sequence[ToolSpecification]:
    """The tools that are offered, in their order."""
    if len(tools) <= most:
        return tools
    by_priority = sorted(range(len(tools)), key=lambda nth: tools[nth].priority)
    return [tools[nth] for nth in sorted(by_priority[:most])]


def _renamed(item: Item, names: dict[str, str]) -> Item:
    if item.kind != "tool_call" or item.data["name"] not in names:
        return item
    return replace(item, data={**item.data, "name": names[item.data["name"]]})
