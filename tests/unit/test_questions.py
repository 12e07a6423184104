"""Questions on the stream of an older client: who may answer them, and what an answer is."""

import asyncio

from functions.tools import mcp
from functions.tools.caller import Caller
from functions.tools.elicitation import Questions, answers_of
from shared.agents.context import ToolUser
from shared.core.json import Json

MINE, THEIRS = Caller(ToolUser({"sub": "me"})), Caller(ToolUser({"sub": "them"}))
QUESTIONS: dict[str, Json] = {
    "name": {"method": "elicitation/create", "params": {}},
    "roots": {"method": "roots/list", "params": {}},
}
YES: Json = {"action": "accept", "content": {"name": "Ada"}}
ROOTS: Json = {"roots": []}


async def replied(*replies: tuple[str, Json | None, Caller]) -> dict[str, Json] | None:
    """Send both questions and these replies, each by its method and caller, in order. Returns the answers."""
    questions = Questions()
    sent: dict[str, str] = {}

    def notify(message: Json) -> None:
        sent[message["method"]] = message["id"]
        if len(sent) == len(QUESTIONS):
            for method, result, caller in replies:
                questions.take(mcp.Reply(sent[method], result), caller)

    async with asyncio.timeout(5):
        return await questions.ask(QUESTIONS, MINE, notify)


async def test_answers_come_in_any_order_and_the_first_counts() -> None:
    answers = await replied(
        ("roots/list", ROOTS, MINE),
        ("elicitation/create", YES, MINE),
        ("elicitation/create", {"action": "cancel"}, MINE),
    )

    assert answers == {"name": {"name": "Ada"}, "roots": ROOTS}


async def test_a_reply_of_another_caller_is_dropped() -> None:
    answers = await replied(
        ("elicitation/create", {"action": "accept", "content": {"name": "Eve"}}, THEIRS),
        ("elicitation/create", YES, MINE),
        ("roots/list", ROOTS, MINE),
    )

    assert answers == {"name": {"name": "Ada"}, "roots": ROOTS}


async def test_a_refusal_or_an_empty_reply_ends_all_questions() -> None:
    for no in (None, {"action": "decline"}):
        answers = await replied(("elicitation/create", no, MINE), ("roots/list", ROOTS, MINE))
        assert answers is None


def test_a_reply_without_a_question_is_dropped() -> None:
    Questions().take(mcp.Reply("1", {}), MINE)


def test_an_invalid_answer_counts_as_no_answer() -> None:
    assert answers_of({"a": 5, "b": {"action": "accept"}, "c": YES}) == {
        "b": {},
        "c": {"name": "Ada"},
    }
    assert answers_of({"a": {"action": "cancel"}, "c": YES}) is None
