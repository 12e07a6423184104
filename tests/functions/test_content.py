"""Files in a user's message: the model gets them, or the request is refused before anything is stored."""

import pytest

from shared.core.json import Json
from tests.doubles import ModelServer, says
from tests.fixtures.conversations import body, messages, text
from tests.fixtures.functions import Served

QUESTION: Json = {"type": "text", "text": "What is it?"}
PDF: Json = {
    "type": "document",
    "source": {"type": "data", "value": "AAAA", "mimeType": "application/pdf"},
}
VIDEO: Json = {
    "type": "video",
    "source": {"type": "data", "value": "AAAA", "mimeType": "video/mp4"},
}


def message(*parts: Json, id_: str = "u1") -> Json:
    return {"id": id_, "role": "user", "content": list(parts)}


async def test_a_document_reaches_the_model_and_the_thread_keeps_it(
    agent: Served, model: ModelServer
) -> None:
    person = await agent.person()
    model.will(says("a letter"))

    assert text(await person.run(body("run-1", message(QUESTION, PDF)))) == "a letter"

    [_, file] = model.requests[0]["messages"][-1]["content"]
    assert file["file"]["file_data"] == "data:application/pdf;base64,AAAA"
    assert (await messages(person))[0]["content"] == [QUESTION, PDF]


@pytest.mark.parametrize(
    ("part", "name"),
    [(VIDEO, "video (video/mp4)"), ({"type": "binary", "mimeType": "a/b", "id": "1"}, "binary")],
)
async def test_what_the_model_cannot_take_is_refused_and_not_stored(
    agent: Served, model: ModelServer, part: Json, name: str
) -> None:
    person = await agent.person()

    refused = await person.request("POST", "/runs", body("run-1", message(QUESTION, part)))

    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (422, "content_unsupported")
    assert name in problem["detail"]
    assert model.requests == []
    assert (await person.request("GET", "/runs/run-1")).status_code == 404


async def test_an_older_part_that_the_model_cannot_take_does_not_block_the_thread(
    agent: Served, model: ModelServer
) -> None:
    person = await agent.person()
    model.will(says("fine"))
    answer = {"id": "a1", "role": "assistant", "content": "a film"}

    sent = body("run-1", message(QUESTION, VIDEO), answer, message(QUESTION, id_="u2"))
    assert text(await person.run(sent)) == "fine"

    [_, placeholder, *_] = model.requests[0]["messages"][1]["content"]
    assert placeholder["text"] == "[a video that cannot be shown here]"
