"""Asking a client something in the middle of a call: what it answers, and the stream that older ones are asked on."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4

from functions.tools import mcp
from functions.tools.tool import Caller
from shared.core import Json

#: Sends a message about the request that is being answered.
Notify = Callable[[Json], Awaitable[None]]

#: How long a user may think where their client waits on its stream.
_SECONDS = 300.0


def answers_of(responses: Mapping[str, Any]) -> dict[str, Json] | None:
    """What was answered, by key; None where a user said no. What is no answer is none: it is asked for again."""
    answered = {key: each for key, each in responses.items() if isinstance(each, dict)}
    if any(each.get("action") in ("decline", "cancel") for each in answered.values()):
        return None
    return {key: _content(each) for key, each in answered.items()}


def _content(response: Json) -> Json:
    """A form's content; of what else a client is asked, all that it answers."""
    if "action" not in response:
        return response
    content = response.get("content")
    return content if isinstance(content, dict) else {}


class Questions:
    """Questions on the streams of clients of before 2026-07-28. Their replies come as requests of their own, and find
    the call only in the process that asked: with several, such a client needs to be kept at one."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[str, asyncio.Future[Json | None]]] = {}

    async def ask(
        self, questions: Mapping[str, Json], caller: Caller, notify: Notify
    ) -> dict[str, Json] | None:
        """The answers, by key; None where one was refused, or did not come in time."""
        asked = {key: str(uuid4()) for key in questions}
        loop = asyncio.get_running_loop()
        self._open.update({id_: (caller.user, loop.create_future()) for id_ in asked.values()})
        try:
            async with asyncio.timeout(_SECONDS):
                for key, id_ in asked.items():
                    await notify(mcp.asked(id_, questions[key]))
                replies = {key: await self._open[id_][1] for key, id_ in asked.items()}
        except TimeoutError:
            return None
        finally:
            for id_ in asked.values():
                self._open.pop(id_, None)
        answered = {key: reply for key, reply in replies.items() if reply is not None}
        return answers_of(answered) if answered.keys() == asked.keys() else None

    def take(self, reply: mcp.Reply, caller: Caller) -> None:
        """Give a reply to the call that waits for it; one that nobody waits for, or somebody else's, is dropped."""
        user, answer = self._open.get(reply.id, ("", None))
        if answer and user == caller.user and not answer.done():
            answer.set_result(reply.result)
