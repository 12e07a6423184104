"""All tools of one run: an agent's functions, and those of servers, under the agent's approval policy."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from shared.agents.context import Progress, RunContext
from shared.agents.tools import Approval, Question, Result, Tool, Toolbox, Tools
from shared.core import Json, logger


class CombinedTools:
    """The tools of several sources. If two have a tool of the same name, the earlier source's is used."""

    def __init__(self, sources: Sequence[Tools], approval: Mapping[str, Approval]) -> None:
        self._sources = sources
        self._approval = approval

    async def open(self, run: RunContext) -> "CombinedToolbox":
        boxes = await asyncio.gather(*(source.open(run) for source in self._sources))
        return CombinedToolbox(boxes, self._approval)


class CombinedToolbox:
    """The tools of one run, each called at its source."""

    def __init__(self, boxes: Sequence[Toolbox], approval: Mapping[str, Approval]) -> None:
        self.tools: dict[str, Tool] = {}
        self._boxes: dict[str, Toolbox] = {}
        for box in boxes:
            for name, tool in box.tools.items():
                if name in self.tools:
                    logger.warning("tool.left_out", extra={"tool": name})
                    continue
                policy = approval.get(name) or approval.get("*") or tool.approval
                self.tools[name] = replace(tool, approval=policy)
                self._boxes[name] = box

    async def call(
        self,
        name: str,
        arguments: Json,
        call_id: str,
        answer: Json | None = None,
        progress: Progress | None = None,
    ) -> Result | Question:
        return await self._boxes[name].call(name, arguments, call_id, answer, progress)
