"""Tools of any name, from the app to the model and back."""

from shared.core.json import Json
from tests.doubles import ModelServer, Reply, calls, says
from tests.fixtures.conversations import text
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import run_input, serve


async def test_a_frontend_tool_keeps_its_own_name_whatever_the_model_calls_it(
    database: TestDatabase, model: ModelServer
) -> None:
    names = ["ui.confirm", "検索する", "x" * 100]
    tools = [{"name": name} for name in names]

    def answer(request: Json) -> Reply:
        if request["messages"][-1]["role"] == "tool":
            return Reply(says("done"))
        offered = [tool["function"]["name"] for tool in request["tools"]]
        return Reply(calls(*((f"c{nth}", name, "{}") for nth, name in enumerate(offered))))

    model.answer_all = answer
    async with serve(database, model) as agent:
        person = await agent.person()
        seen = await person.run(run_input("go", tools=tools))
        starts = [frame for frame in seen if frame["type"] == "TOOL_CALL_START"]
        results = [
            {"id": f"r{nth}", "role": "tool", "toolCallId": start["toolCallId"], "content": "ok"}
            for nth, start in enumerate(starts)
        ]
        body = {"threadId": "thread-1", "runId": "run-2", "messages": results, "tools": tools}
        assert text(await person.run(body)) == "done"

    assert [start["toolCallName"] for start in starts] == names
    (spoken,) = [each for each in model.requests[-1]["messages"] if each.get("tool_calls")]
    sent = [call["function"]["name"] for call in spoken["tool_calls"]]
    assert sent == [tool["function"]["name"] for tool in model.requests[-1]["tools"]]
    assert all(name.isascii() and len(name) <= 64 and "." not in name for name in sent)
