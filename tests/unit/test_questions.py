"""Questions on the stream of an older client: who may answer them, and what an answer is."""

import asyncio

from functions.tools import mcp
from functions.tools.elicitation import Questions, answers_of
from functions.tools.tool import Caller
from shared.core.json import Json

MINE, THEIRS = Caller({"sub": "me"}), Caller({"sub": "them"})
ASKED: dict[str, Json] = {
    "name": {"method": "elicitation/create", "params": {}},
    "roots": {"method": "roots/list", "params": {}},
}
YES: Json = {"action": "accept", "content": {"name": "Ada"}}
ROOTS: Json = {"roots": []}


async def asked(*replies: tuple[str, Json | None, Caller]) -> dict[str, Json] | None:
    """Ask both questions; reply to them by method, in turn, as these callers."""
    questions = Questions()
    told: dict[str, str] = {}

    async def notify(message: Json) -> None:
        told[message["method"]] = message["id"]
        if len(told) == len(ASKED):
            for method, result, caller in replies:
                questions.take(mcp.Reply(told[method], result), caller)

    async with asyncio.timeout(5):
        return await questions.ask(ASKED, MINE, notify)


async def test_answers_come_in_any_order_and_the_first_counts() -> None:
    answers = await asked(
        ("roots/list", ROOTS, MINE),
        ("elicitation/create", YES, MINE),
        ("elicitation/create", {"action": "cancel"}, MINE),
    )

    assert answers == {"name": {"name": "Ada"}, "roots": ROOTS}


async def test_nobody_answers_for_another() -> None:
    answers = await asked(
        ("elicitation/create", {"action": "accept", "content": {"name": "Eve"}}, THEIRS),
        ("elicitation/create", YES, MINE),
        ("roots/list", ROOTS, MINE),
    )

    assert answers == {"name": {"name": "Ada"}, "roots": ROOTS}


async def test_who_refuses_or_cannot_answer_ends_the_asking() -> None:
    for no in (None, {"action": "decline"}):
        answers = await asked(("elicitation/create", no, MINE), ("roots/list", ROOTS, MINE))
        assert answers is None


def test_a_reply_that_nobody_waits_for_is_dropped() -> None:
    Questions().take(mcp.Reply("1", {}), MINE)


def test_what_is_no_answer_is_none() -> None:
    assert answers_of({"a": 5, "b": {"action": "accept"}, "c": YES}) == {
        "b": {},
        "c": {"name": "Ada"},
    }
    assert answers_of({"a": {"action": "cancel"}, "c": YES}) is None
