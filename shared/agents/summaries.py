"""Summaries: before a thread no longer fits the model's context, the model summarises its oldest exchanges.

A summary is an item of the thread, at the place where it was made, and it names the last item that it stands for. So it
survives the process, clients can show it, and a rewind before its place takes it back. Where a model writes none, the
adapter cuts the conversation without it (`shared.models.cutting`).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple
from uuid import uuid4

from shared.agents.bound import BoundAgent
from shared.agents.model_turn import ModelTurn
from shared.agents.turn import TurnRecorder
from shared.core import Draft, Item, Step, Usage, logger
from shared.models import (
    ModelFailed,
    ModelRequest,
    ModelSettings,
    clip_summary,
    oldest_exchanges,
    transcript,
)
from shared.runs import with_steady_start

#: Members of a body that say what an answer is like.
_FOR_ANSWERS: Final = frozenset({"response_format", "text", "tools", "tool_choice"})
_INTRODUCTION: Final = "A summary of the conversation before this message:"
_INSTRUCTIONS: Final = (
    "You summarise a conversation between a user and an assistant, for the assistant, which will read your summary"
    " instead of the conversation. Keep what later messages may depend on: who the user is and what they want, facts,"
    " names, numbers and ids, decisions with their reasons, results of tools, and what is still open. Leave out"
    " pleasantries. Write in the language of the conversation. Answer with the summary alone, in at most 400 words."
)


class Summary(NamedTuple):
    """A new summary: its item, the tokens that it took, and the step that puts both into the log."""

    item: Item
    usage: Usage

    @property
    def step(self) -> Step:
        """Closes the turn: a takeover keeps the summary."""
        item_id, data = self.item.key, {"kind": self.item.kind, "item": self.item.data}
        drafts = [
            Draft("item.started", item_id, {"kind": self.item.kind}),
            Draft("item.completed", item_id, data),
        ]
        if usage := self.usage.to_json():
            drafts.append(Draft("turn.finished", None, {"usage": usage}))
        return Step(drafts, commits=True, closes=True)


def since_summary(items: Sequence[Item]) -> list[Item]:
    """The items that a request has: the newest summary, as a message of the user, and what it does not stand for."""
    newest = next((item for item in reversed(items) if item.kind == "summary"), None)
    if newest is None:
        return with_steady_start(items)
    keys, through = [item.key for item in items], newest.data["through"]
    # If it is none of the items, it is older than all of them.
    rest = items[keys.index(through) + 1 :] if through in keys else with_steady_start(items)
    content = f"{_INTRODUCTION}\n{newest.data['text']}"
    message = Item(newest.key, "message", {"role": "user", "content": content, "through": through})
    return [message, *(item for item in rest if item.kind != "summary")]


class Summaries:
    """Makes the summaries of one run. After a failure it makes no more: the conversation is cut instead."""

    def __init__(self, agent: BoundAgent) -> None:
        self._agent = agent
        self._has_failed = False

    async def make(self, request: ModelRequest) -> Summary | None:
        """Summarise the oldest exchanges of a request that is full.

        None if it is not full, or if the model writes no summary.
        """
        oldest = [] if self._has_failed else oldest_exchanges(request)
        if not oldest:
            return None
        turn = await self._write(transcript(oldest))
        if not turn:
            self._has_failed = True
            return None
        data = {"text": clip_summary(turn.text.strip(), request), "through": oldest[-1].key}
        return Summary(Item(str(uuid4()), "summary", data), turn.usage)

    async def _write(self, content: str) -> TurnRecorder | None:
        """The turn in which the model summarises a transcript; None if it fails. No client sees how it is written."""
        request = ModelRequest(
            items=[Item("transcript", "message", {"role": "user", "content": content})],
            instructions=_INSTRUCTIONS,
            context_tokens=self._agent.context_tokens,
        )
        models = [m._replace(settings=_plain(m.settings)) for m in self._agent.models]
        turn = ModelTurn(models, (), self._agent.max_turn_tries)
        try:
            async for _ in turn.steps(request):
                pass
        except ModelFailed as failed:
            logger.warning("summary.failed", extra=failed.facts)
            return None
        reason = turn.recorder.finish_reason
        if reason == "stop" and turn.recorder.text.strip():
            return turn.recorder
        logger.warning("summary.failed", extra={"code": f"finished with {reason}"})
        return None


def _plain(settings: ModelSettings) -> ModelSettings:
    """The settings for a plain text: without a schema, and without tools."""
    body = {k: v for k, v in (settings.extra_body or {}).items() if k not in _FOR_ANSWERS}
    return replace(
        settings,
        output_schema=None,
        tool_choice=None,
        parallel_tool_calls=None,
        extra_body=body or None,
    )
