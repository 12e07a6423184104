"""A user's limits: tokens of a day, refused before a run and between its turns, and told as what they are."""

from tests.doubles import CountingTools, ModelServer, calls, says
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import says_user, serve
from tests.functions.test_approvals import ask, resumes
from tests.functions.test_runs import text, types


async def test_a_user_whose_tokens_are_spent_is_refused_and_others_are_not(
    database: TestDatabase, model: ModelServer
) -> None:
    async with serve(database, model, daily_tokens_per_user=10) as agent:
        person, other = await agent.person(), await agent.person()
        # The fake model says that a turn costs ten.
        model.will(says("hi"), says("hello"))
        first = says_user("hi")
        await person.run(first)

        refused = await person.ask("POST", "/runs", says_user("more", run="run-2"))
        assert (refused.status_code, refused.json()["code"]) == (429, "budget_exceeded")
        known = await person.ask("GET", "/runs/run-2")
        assert known.status_code == 404, "what is refused leaves nothing behind"
        again = await person.run(first)
        assert types(again)[-1] == "RUN_FINISHED", "who comes back to a run is not refused"
        assert text(await other.run(says_user("hi"))) == "hello"


async def test_a_run_that_spends_the_last_of_them_ends_after_its_turn(
    database: TestDatabase, model: ModelServer
) -> None:
    tools = CountingTools({"look": "seen"})
    async with serve(database, model, tools, daily_tokens_per_user=10) as agent:
        person = await agent.person()
        model.will(calls(("a", "look", "{}")))
        seen = await person.run(says_user("go"))

    assert seen[-1]["metadata"] == {"incompleteReason": "budget_exceeded"}
    assert tools.calls == [("look", {})], "what the turn asked for is done"


async def test_cancelling_a_run_that_waits_for_its_user_changes_nothing(
    database: TestDatabase, model: ModelServer
) -> None:
    tools = CountingTools({"pay": "paid"}, pay={"approval": "ask"})
    async with serve(database, model, tools) as agent:
        person = await agent.person()
        (asked,) = await ask(person, model, ("a", "pay", "{}"))

        cancelled = await person.ask("POST", "/runs/run-1/cancel")
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "interrupted")
        model.will(says("done"))
        await person.run(resumes(asked, {"approved": True}))

    assert tools.calls == [("pay", {})]
