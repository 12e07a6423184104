"""Questions to a client during a call: its answers, and the questions on streams of older clients."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from functions.tools import mcp
from functions.tools.caller import Caller
from shared.core import Json

#: Sends the client a message about its pending request.
Notify = Callable[[Json], None]

#: The time a user has to answer while their client waits on its stream.
_SECONDS = 300.0


def answers_of(responses: Mapping[str, Any]) -> dict[str, Json] | None:
    """The answers by key; None if the user declined one. Responses that are not objects are ignored, and the tool
    may ask again."""
    valid = {key: each for key, each in responses.items() if isinstance(each, dict)}
    if any(each.get("action") in ("decline", "cancel") for each in valid.values()):
        return None
    return {key: _content(each) for key, each in valid.items()}


def _content(response: Json) -> Json:
    """The content of a form; for other requests, the whole response."""
    if "action" not in response:
        return response
    content = response.get("content")
    return content if isinstance(content, dict) else {}


class Questions:
    """Questions on the streams of clients of MCP before 2026-07-28.

    Such a client sends each reply as a request of its own, and only the process that sent the question has the call.
    With several processes, its requests must all reach the same one.
    """

    def __init__(self) -> None:
        self._open: dict[str, tuple[str, asyncio.Future[Json | None]]] = {}

    async def ask(
        self, questions: Mapping[str, Json], caller: Caller, notify: Notify
    ) -> dict[str, Json] | None:
        """The answers by key; None if one was refused or did not come in time."""
        ids = {key: str(uuid4()) for key in questions}
        loop = asyncio.get_running_loop()
        self._open.update({id_: (caller.user.id, loop.create_future()) for id_ in ids.values()})
        try:
            async with asyncio.timeout(_SECONDS):
                for key, id_ in ids.items():
                    notify(mcp.question(id_, questions[key]))
                replies = {key: await self._open[id_][1] for key, id_ in ids.items()}
        except TimeoutError:
            return None
        finally:
            for id_ in ids.values():
                self._open.pop(id_, None)
        results = {key: reply for key, reply in replies.items() if reply is not None}
        return answers_of(results) if results.keys() == ids.keys() else None

    def take(self, reply: mcp.Reply, caller: Caller) -> None:
        """Pass a reply to the call that waits for it. Drop it if no call waits for it, or if another user sent it."""
        user, answer = self._open.get(reply.id, ("", None))
        if answer and user == caller.user.id and not answer.done():
            answer.set_result(reply.result)
