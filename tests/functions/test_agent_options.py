"""An agent's own options, through its function: tools, progress, output, instructions, providers and fallbacks."""

import asyncio
import time
from dataclasses import replace

import pytest
from pydantic import BaseModel

from shared.agents.agent import Agent
from shared.agents.context import RunContext, ToolContext
from shared.agents.function_tool import tool
from shared.agents.model import Model
from shared.core.json import Json
from tests.doubles import ModelServer, Piece, Reply, calls, chunk, model_server, refuses, says
from tests.fixtures.conversations import text, types
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import run_input, serve


class City(BaseModel):
    name: str
    people: int


@tool(read_only=True)
def count_people(city: str, context: ToolContext) -> City:
    """Count the people of a city."""
    for done in range(3):
        context.progress(done, 3, f"street {done}")
        time.sleep(0.01)
    return City(name=city, people=7 + (context.state or {}).get("more", 0))


COUNTING = Agent(instructions="count", tools=[count_people])


def messages_of(request: Json) -> list[tuple[str, str]]:
    return [(m["role"], m.get("content") or "") for m in request["messages"]]


async def test_a_tool_of_the_agent_is_called_and_its_progress_is_shown(
    database: TestDatabase, model: ModelServer
) -> None:
    model.will(calls(("a", "count_people", '{"city": "Bonn"}')), says("Seven."))
    async with serve(database, model, agent=COUNTING) as served:
        person = await served.person()
        seen = await person.run(run_input("how many?", state={"more": 1}))

    offered = model.requests[0]["tools"]
    assert [each["function"]["name"] for each in offered] == ["count_people"]
    (result,) = [frame for frame in seen if frame["type"] == "TOOL_CALL_RESULT"]
    assert result["content"] == '{"name":"Bonn","people":8}'
    reports = [frame for frame in seen if frame["type"] == "ACTIVITY_SNAPSHOT"]
    assert reports
    assert reports[0]["content"]["toolCallId"] == result["toolCallId"]
    assert reports[0]["content"]["total"] == 3
    assert types(seen).index("ACTIVITY_SNAPSHOT") < types(seen).index("TOOL_CALL_RESULT")
    assert text(seen) == "Seven."


async def test_the_approval_policy_of_the_agent_takes_precedence(
    database: TestDatabase, model: ModelServer
) -> None:
    model.will(calls(("a", "count_people", '{"city": "Bonn"}')))
    careful = replace(COUNTING, approval={"*": "ask"})
    async with serve(database, model, agent=careful) as served:
        seen = await (await served.person()).run(run_input("how many?"))

    assert seen[-1]["outcome"]["type"] == "interrupt"


async def test_instructions_can_be_a_function_of_the_run(
    database: TestDatabase, model: ModelServer
) -> None:
    def instructions(run: RunContext) -> str:
        return f"Answer {run.state['name']} in {run.client_thread_id}."

    model.will(says("ok"))
    async with serve(database, model, agent=Agent(instructions=instructions)) as served:
        await (await served.person()).run(run_input("hi", state={"name": "Ada"}))

    assert messages_of(model.requests[0])[0] == ("system", "Answer Ada in thread-1.")


async def test_a_response_that_fits_is_the_result_of_the_run(
    database: TestDatabase, model: ModelServer
) -> None:
    model.will(says('{"name": "Bonn", ', '"people": 7}'))
    async with serve(database, model, agent=Agent(instructions="", output=City)) as served:
        person = await served.person()
        seen = await person.run(run_input("a city"))
        stored = (await person.request("GET", "/runs/run-1")).json()

    wanted = model.requests[0]["response_format"]["json_schema"]["schema"]
    assert wanted["required"] == ["name", "people"]
    assert seen[-1]["result"] == {"name": "Bonn", "people": 7}
    assert stored["result"] == {"name": "Bonn", "people": 7}


async def test_a_response_that_does_not_fit_is_sent_back_once_with_the_reason(
    database: TestDatabase, model: ModelServer
) -> None:
    model.will(says('{"name": "Bonn"}'), says('```json\n{"name": "Bonn", "people": 7}\n```'))
    async with serve(database, model, agent=Agent(instructions="", output=City)) as served:
        person = await served.person()
        seen = await person.run(run_input("a city"))
        model.will(says('{"name": "Ulm", "people": 1}'))
        await person.run(run_input("another", run="run-2"))

    assert seen[-1]["result"] == {"name": "Bonn", "people": 7}
    _, correction = messages_of(model.requests[1])[-2:]
    assert correction[0] == "user"
    assert "people: Field required" in correction[1]
    # Later requests repeat the same words, so that the provider's cache serves them.
    assert messages_of(model.requests[2])[: len(model.requests[1]["messages"])] == messages_of(
        model.requests[1]
    )


@pytest.mark.parametrize("second", ["no JSON at all", '{"name": "Bonn", "people": "many"}'])
async def test_a_second_response_that_does_not_fit_fails_the_run(
    database: TestDatabase, model: ModelServer, second: str
) -> None:
    model.will(says("one"), says(second))
    async with serve(database, model, agent=Agent(instructions="", output=City)) as served:
        seen = await (await served.person()).run(run_input("a city"))

    assert (seen[-1]["type"], seen[-1]["code"]) == ("RUN_ERROR", "output_invalid")
    assert seen[-1]["message"].endswith("neither did the one before it.")


@pytest.mark.parametrize(
    ("responses", "is_retryable", "shown"),
    [
        ([says()], True, "response is empty"),
        ([[chunk({"reasoning": "hm"}), *says()]], False, "response is empty"),
        ([says("one"), says("two")], False, "the one before it"),
        ([says("one"), says()], False, "the one before it"),
    ],
    ids=["empty", "only reasoning", "two", "one and an empty one"],
)
async def test_a_run_whose_responses_do_not_fit_is_retryable_if_a_repeated_one_is_accepted(
    database: TestDatabase,
    model: ModelServer,
    responses: list[list[Piece]],
    is_retryable: bool,
    shown: str,
) -> None:
    model.will(*responses)
    async with serve(database, model, agent=Agent(instructions="", output=City)) as served:
        person = await served.person()
        seen = await person.run(run_input("a city"))
        if is_retryable:
            model.will(says('{"name": "Bonn", "people": 7}'))
        repeated = {"threadId": "thread-1", "runId": "run-2", "messages": []}
        response = await person.request("POST", "/runs", repeated)
    async with database.owner() as owner:
        retryable = await owner.fetchval(
            "select data -> 'retryable' from agent.run_event where type = 'run.failed'"
        )

    assert shown in seen[-1]["message"]
    assert retryable == str(is_retryable).lower()
    assert response.status_code == (200 if is_retryable else 422)


@pytest.mark.parametrize("output", [None, City])
async def test_a_refusal_is_the_answer_and_is_not_sent_back(
    database: TestDatabase, model: ModelServer, output: type[BaseModel] | None
) -> None:
    model.will(refuses("I cannot ", "help with that."))
    async with serve(database, model, agent=Agent(instructions="", output=output)) as served:
        person = await served.person()
        seen = await person.run(run_input("a secret city"))
        model.will(refuses("Still no."))
        await person.run(run_input("please", run="run-2"))

    assert text(seen) == "I cannot help with that."
    assert seen[-1].get("metadata") == ({"incompleteReason": "refusal"} if output else None)
    assert "result" not in seen[-1]
    assert messages_of(model.requests[1])[-2] == ("assistant", "I cannot help with that.")


async def test_a_model_of_another_provider_is_requested_there_with_its_settings(
    database: TestDatabase, model: ModelServer
) -> None:
    async with model_server() as other:
        other.will(says("elsewhere"))
        chosen = Model("llama", provider="groq", temperature=0.5, extra_body={"seed": 7})
        given = {"GROQ_BASE_URL": other.url, "GROQ_API_KEY": "key"}
        agent = Agent(instructions="", model=chosen)
        async with serve(database, model, agent=agent, model_providers=given) as served:
            seen = await (await served.person()).run(run_input("hi"))

        assert text(seen) == "elsewhere"
        (sent,) = other.requests
        assert (sent["model"], sent["temperature"], sent["seed"]) == ("llama", 0.5, 7)


@pytest.mark.parametrize("failure", [Reply(status=401), Reply(status=404), Reply(cuts=True)])
async def test_a_model_that_fails_before_its_first_token_is_followed_by_its_fallback(
    database: TestDatabase, model: ModelServer, failure: Reply
) -> None:
    def answer(request: Json) -> Reply:
        return failure if request["model"] == "large" else Reply(says("from the small one"))

    model.answer_all = answer
    agent = Agent(instructions="", model=Model("large", fallback=["small"]))
    async with serve(database, model, agent=agent) as served:
        seen = await (await served.person()).run(run_input("hi"))

    assert text(seen) == "from the small one"
    assert {request["model"] for request in model.requests} == {"large", "small"}


async def test_a_model_that_breaks_off_after_its_first_token_is_requested_again(
    database: TestDatabase, model: ModelServer
) -> None:
    broken = Reply(says("half")[:1], cuts=True)
    model.will(broken, says("whole"))
    agent = Agent(instructions="", model=Model("large", fallback=["small"]))
    async with serve(database, model, agent=agent) as served:
        await (await served.person()).run(run_input("hi"))

    assert [request["model"] for request in model.requests] == ["large", "large"]


async def test_a_blocking_tool_does_not_stop_other_runs(
    database: TestDatabase, model: ModelServer
) -> None:
    released = asyncio.Event()

    @tool
    def wait() -> str:
        """Wait."""
        while not released.is_set():
            time.sleep(0.01)
        return "waited"

    model.answer_all = lambda request: Reply(
        calls(("a", "wait", "{}")) if "please" in str(request["messages"][-1]) else says("free")
    )
    async with serve(database, model, agent=Agent(instructions="", tools=[wait])) as served:
        person = await served.person()
        blocked = asyncio.ensure_future(person.run(run_input("wait please")))
        other = await person.run(run_input("hi", run="run-2", thread="thread-2"))
        assert not blocked.done()
        released.set()
        await blocked

    assert text(other) == "free"
