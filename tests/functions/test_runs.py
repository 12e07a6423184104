"""POST /runs: one message in, one answer out, in AG-UI's order."""

from tests.doubles import ModelServer, says
from tests.fixtures.functions import Served, says_user


async def test_a_message_is_answered_as_an_ag_ui_stream(agent: Served, model: ModelServer) -> None:
    person = await agent.person()
    model.will(says("Hel", "lo"))

    frames = await person.run(says_user("hi"))

    assert [f["type"] for f in frames] == [
        "RUN_STARTED",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]
    assert frames[0] == {
        "type": "RUN_STARTED",
        "threadId": "thread-1",
        "runId": "run-1",
        "protocolVersion": "1.0",
    }
    assert frames[-1]["outcome"] == {"type": "success"}
    assert frames[-1]["usage"] == [{"model": "fake-1", "inputTokens": 7, "outputTokens": 3}]
