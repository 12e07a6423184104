"""A thread that is far longer than the model's context, in five scripts and with images: every run is answered."""

import json
import random
from typing import Any

import pytest

from shared.core.json import Json
from tests.doubles import ModelServer, Reply, calls, says
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Person, serve

CONTEXT = 8192
_REFUSED = {"error": {"code": "context_length_exceeded", "message": "Too long."}}
SENTENCES = (
    "The quick brown fox jumps over the lazy dog and writes about databases. ",
    "数据库是用来存储和管理数据的计算机系统并且保证数据的一致性。",
    "डेटाबेस एक कंप्यूटर प्रणाली है जो डेटा को संग्रहीत और प्रबंधित करती है। ",
    "قاعدة البيانات هي نظام حاسوبي لتخزين البيانات وإدارتها ويمكن للمستخدمين الحصول على المعلومات. ",
    "የውሂብ ጎታ መረጃን የሚያከማች እና የሚያስተዳድር የኮምፒውተር ስርዓት ነው። ",
)
#: Tokens per character from a code point on, as cl100k_base has them on average; and of an image.
_TOKENS = ((0x2E80, 0.85), (0x1000, 2.5), (0x900, 1.0), (0x80, 0.75), (0, 0.25))
_IMAGE_TOKENS = 1445


def tokens(content: Any) -> float:
    """About what a model's tokenizer makes of a content."""
    if isinstance(content, list):
        return sum(
            _IMAGE_TOKENS if part["type"] == "image_url" else tokens(part["text"])
            for part in content
        )
    return sum(
        next(each for start, each in _TOKENS if ord(letter) >= start) for letter in content or ""
    )


def size(request: Json) -> float:
    """The tokens of a request."""
    texts = [json.dumps(request.get("tools", [])), *(m["content"] for m in request["messages"])]
    made = [call for m in request["messages"] for call in m.get("tool_calls", ())]
    return sum(map(tokens, texts)) + sum(tokens(json.dumps(call)) for call in made)


class SmallModel:
    """Answers at length, calls a tool now and then, and refuses what is longer than its context."""

    def __init__(self, seed: int) -> None:
        self.refused = 0
        self.largest = 0.0
        self._random = random.Random(seed)  # noqa: S311  # no secret

    def answer(self, request: Json) -> Reply:
        used = size(request)
        if used > CONTEXT:
            self.refused += 1
            return Reply([json.dumps(_REFUSED).encode()], status=400)
        self.largest = max(self.largest, used)
        last = request["messages"][-1]
        if last["role"] == "user" and self._random.random() < 0.2:
            return Reply(calls(("call_0", "nowhere", '{"n": 1}'), ("call_0", "nowhere", '{"n"')))
        return Reply(says(self._random.choice(SENTENCES) * self._random.randint(1, 12)))


def message(chosen: random.Random, nth: int) -> Json:
    """A message of the user: mostly short, sometimes too long for the model, sometimes with images."""
    repeats = 400 if nth % 97 == 50 else chosen.randint(1, 20)
    text = {"type": "text", "text": chosen.choice(SENTENCES) * repeats}
    source = {"type": "data", "value": "A" * 4000, "mimeType": "image/png"}
    images = [{"type": "image", "source": source}] * (chosen.randint(1, 6) if nth % 9 == 0 else 0)
    return {"id": f"message-{nth}", "role": "user", "content": [text, *images]}


async def talk(person: Person, turns: int) -> None:
    """Post so many runs of one thread. Each must be answered."""
    chosen = random.Random(7)  # noqa: S311  # no secret
    for nth in range(turns):
        frames = await person.run(
            {"threadId": "thread-1", "runId": f"run-{nth}", "messages": [message(chosen, nth)]}
        )
        assert frames[-1]["type"] == "RUN_FINISHED", (nth, frames[-1])


@pytest.mark.parametrize(
    "turns", [120, pytest.param(2000, marks=pytest.mark.long)], ids=["short", "long"]
)
async def test_every_run_of_a_long_thread_is_answered(
    database: TestDatabase, model: ModelServer, turns: int
) -> None:
    small = SmallModel(seed=turns)
    model.answer_all = small.answer
    async with serve(database, model, model_context_tokens=CONTEXT) as agent:
        await talk(await agent.person(), turns)

    # The estimate is good: nothing was refused, and the context was used.
    assert small.refused == 0
    assert small.largest > CONTEXT * 0.5


async def test_a_model_with_a_smaller_context_than_its_setting_answers_too(
    database: TestDatabase, model: ModelServer
) -> None:
    small = SmallModel(seed=1)
    model.answer_all = small.answer
    async with serve(database, model) as agent:
        await talk(await agent.person(), 60)

    assert small.refused > 0
