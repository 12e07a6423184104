"""A thread that no longer fits is summarised: models and clients read the summary, and a rewind takes it back."""

from collections.abc import AsyncIterator

import pytest

from shared.core.json import Json
from tests.doubles import ModelServer, Reply, says
from tests.fixtures.conversations import user
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Person, Served, serve

_LONG = "word " * 300
_SUMMARY = "They talked about words."


class Summarising:
    """A model that answers, and writes summaries if it can. `summaries` are its requests for them."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.summaries: list[Json] = []

    def answer(self, request: Json) -> Reply:
        if not str(request["messages"][0]["content"]).startswith("You summarise"):
            return Reply(says("yes"))
        self.summaries.append(request)
        return Reply(says(_SUMMARY), status=self.status)


@pytest.fixture
async def small(database: TestDatabase, model: ModelServer) -> AsyncIterator[Served]:
    async with serve(database, model, model_context_tokens=2048) as agent:
        yield agent


async def talk(person: Person, turns: int, *, start: int = 0) -> list[Json]:
    """All frames of so many runs of one thread, each with a long message."""
    frames: list[Json] = []
    for nth in range(start, start + turns):
        run = {"threadId": "thread-1", "runId": f"run-{nth}", "messages": [user(f"u{nth}", _LONG)]}
        frames += await person.run(run)
        assert frames[-1]["type"] == "RUN_FINISHED", frames[-1]
    return frames


async def test_the_model_and_the_client_get_the_summary(small: Served, model: ModelServer) -> None:
    summarising = Summarising()
    model.answer_all = summarising.answer
    person = await small.person()

    frames = await talk(person, 9)

    assert summarising.summaries
    shown = [f for f in frames if f["type"] == "ACTIVITY_SNAPSHOT"]
    assert [f["content"] for f in shown] == [{"text": _SUMMARY}] * len(summarising.summaries)
    first = model.requests[-1]["messages"][1]
    assert first["role"] == "user"
    assert _SUMMARY in str(first["content"])
    # A second summary is made of the first one, not of the exchanges that the first stands for.
    assert _SUMMARY in str(summarising.summaries[1]["messages"])

    async with person.stream("POST", "/connect", {"threadId": "thread-1"}) as stream:
        snapshot = await stream.rest()
    [messages] = [f["messages"] for f in snapshot if f["type"] == "MESSAGES_SNAPSHOT"]
    activities = [m for m in messages if m["role"] == "activity"]
    assert [m["content"]["text"] for m in activities] == [_SUMMARY] * len(shown)
    # The thread itself is whole.
    assert len([m for m in messages if m["role"] == "user"]) == 9


async def test_a_rewind_takes_a_summary_back(small: Served, model: ModelServer) -> None:
    summarising = Summarising()
    model.answer_all = summarising.answer
    person = await small.person()
    await talk(person, 6)
    assert summarising.summaries

    body = {"threadId": "thread-1", "runId": "again", "messages": [user("u0", "something else")]}
    assert (await person.run(body))[-1]["type"] == "RUN_FINISHED"

    assert _SUMMARY not in str(model.requests[-1]["messages"])


async def test_a_model_that_writes_no_summary_does_not_fail_the_run(
    small: Served, model: ModelServer
) -> None:
    summarising = Summarising(status=400)
    model.answer_all = summarising.answer
    frames = await talk(await small.person(), 7)
    assert summarising.summaries
    assert not [f for f in frames if f["type"] == "ACTIVITY_SNAPSHOT"]


async def test_a_message_can_be_repeated_after_its_run_failed_behind_a_summary(
    small: Served, model: ModelServer
) -> None:
    summarising = Summarising()
    person = await small.person()

    def fail_after_a_summary(request: Json) -> Reply:
        reply = summarising.answer(request)
        is_summary = summarising.summaries and summarising.summaries[-1] is request
        return Reply(status=400) if summarising.summaries and not is_summary else reply

    model.answer_all = fail_after_a_summary
    for nth in range(20):
        body = {"threadId": "thread-1", "runId": f"run-{nth}", "messages": [user(f"u{nth}", _LONG)]}
        if (await person.run(body))[-1]["type"] == "RUN_ERROR":
            break
    assert len(summarising.summaries) == 1

    model.answer_all = summarising.answer
    assert (await person.run({**body, "runId": "repeated"}))[-1]["type"] == "RUN_FINISHED"
