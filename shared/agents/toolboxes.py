"""All tools of one run: an agent's functions, and those of servers, under the agent's approval policy."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from shared.agents.context import RunContext
from shared.agents.function_toolbox import FunctionToolbox
from shared.agents.tools import Approval, CallRequest, Question, Result, Tool, Toolbox, Tools
from shared.core import logger


class CombinedTools:
    """The tools of several sources. If two have a tool of the same name, the earlier source's is used.

    `reserved`: the names of the agent's own functions. No source's tool takes the place of one that is for other
    users only.
    """

    def __init__(
        self,
        sources: Sequence[Tools],
        approval: Mapping[str, Approval],
        reserved: Collection[str] = (),
    ) -> None:
        self._sources = sources
        self._approval = approval
        self._reserved = frozenset(reserved)

    async def open(self, run: RunContext) -> "CombinedToolbox":
        boxes = await asyncio.gather(*(source.open(run) for source in self._sources))
        return CombinedToolbox(boxes, self._approval, self._reserved)


class CombinedToolbox:
    """The tools of one run, each called at its source."""

    def __init__(
        self,
        boxes: Sequence[Toolbox],
        approval: Mapping[str, Approval],
        reserved: Collection[str],
    ) -> None:
        self.tools: dict[str, Tool] = {}
        self._boxes: dict[str, Toolbox] = {}
        for box in boxes:
            for name, tool in box.tools.items():
                is_reserved = name in reserved and not isinstance(box, FunctionToolbox)
                if name in self.tools or is_reserved:
                    logger.warning("tool.left_out", extra={"tool": name})
                    continue
                policy = approval.get(name) or approval.get("*") or tool.approval
                self.tools[name] = replace(tool, approval=policy)
                self._boxes[name] = box

    async def call(self, request: CallRequest) -> Result | Question:
        return await self._boxes[request.name].call(request)
