"""The examples of docs/agents.md and the README, executed as they stand there."""

import re
from types import ModuleType
from typing import Final

from local.environment import ROOT
from shared.agents.agent import Agent
from shared.core.json import Json
from tests.doubles import ModelServer, calls, says
from tests.fixtures.conversations import text
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import run_input, serve
from tests.fixtures.interrupts import resumes

_BLOCK: Final = re.compile(r"^```python\n(\"\"\".*?)^```$", re.MULTILINE | re.DOTALL)


def agents(page: str) -> list[Agent]:
    """The agents of a page's whole files, in their order."""
    found = []
    for nth, source in enumerate(_BLOCK.findall((ROOT / page).read_text())):
        module = ModuleType(f"example_{nth}")
        exec(compile(source, f"{page}, example {nth}", "exec"), vars(module))  # noqa: S102  # our own page
        found.append(module.app.agent)
    return found


SMALLEST, ORDERS, TICKETS, PERSONAL = agents("docs/agents.md")
[FIRST] = agents("README.md")


def offered(request: Json) -> set[str]:
    return {tool["function"]["name"] for tool in request.get("tools", ())}


async def test_the_smallest_agent_answers(database: TestDatabase, model: ModelServer) -> None:
    model.will(says("Yes."))
    async with serve(database, model, agent=SMALLEST) as served:
        seen = await (await served.person()).run(run_input("Is it red?"))

    assert text(seen) == "Yes."
    assert model.requests[0]["messages"][0]["content"].startswith("You answer questions")


async def test_orders_are_found_at_once_and_cancelled_with_approval(
    database: TestDatabase, model: ModelServer
) -> None:
    model.will(
        calls(("a", "find_order", '{"number": "A-17"}')),
        calls(("b", "cancel_order", '{"number": "A-17"}')),
    )
    async with serve(database, model, agent=ORDERS) as served:
        person = await served.person()
        seen = await person.run(run_input("Cancel my lamp."))
        (interrupt,) = seen[-1]["outcome"]["interrupts"]
        model.will(says("Done."))
        finished = await person.run(resumes(interrupt, {"approved": True}))

    (found,) = [frame for frame in seen if frame["type"] == "TOOL_CALL_RESULT"]
    assert found["content"] == '{"item":"lamp","state":"shipped"}'
    (cancelled,) = [frame for frame in finished if frame["type"] == "TOOL_CALL_RESULT"]
    (report,) = [frame for frame in finished if frame["type"] == "ACTIVITY_SNAPSHOT"]
    assert report["content"]["message"] == "Calling the warehouse"
    assert cancelled["content"] == f"Order A-17 is cancelled for user {person.sub}."
    assert model.requests[0]["reasoning_effort"] == "low"


async def test_a_message_becomes_a_ticket(database: TestDatabase, model: ModelServer) -> None:
    model.will(says('{"title": "Lamp is dark", "urgency": "high"}'))
    async with serve(database, model, agent=TICKETS) as served:
        seen = await (await served.person()).run(run_input("My lamp is dark! Help!"))

    assert seen[-1]["result"] == {"title": "Lamp is dark", "urgency": "high", "product": None}


async def test_the_instructions_know_the_user(database: TestDatabase, model: ModelServer) -> None:
    model.will(says("Ja."))
    async with serve(database, model, agent=PERSONAL) as served:
        person = await served.person(app_metadata={"role": "accountant"})
        await person.run(run_input("Hallo", state={"language": "German"}))

    shown = model.requests[0]["messages"][0]["content"]
    assert shown == "You are an assistant. Answer in German. You may discuss invoices."


async def test_the_agent_of_the_readme_finds_an_order_and_asks_before_it_cancels_one(
    database: TestDatabase, model: ModelServer
) -> None:
    model.will(
        calls(("a", "find_order", '{"number": "A-17"}')),
        calls(("b", "cancel_order", '{"number": "A-17"}')),
    )
    async with serve(database, model, agent=FIRST) as served:
        seen = await (await served.person()).run(run_input("Where is A-17? Cancel it."))

    (found,) = [frame for frame in seen if frame["type"] == "TOOL_CALL_RESULT"]
    assert found["content"] == "shipped on Monday"
    assert seen[-1]["outcome"]["type"] == "interrupt"
