"""Which exchanges are summarised, what the model reads, and what a request has instead of them."""

import pytest

from shared.agents.loop import Loop
from shared.agents.summaries import Summaries, since_summary
from shared.core.items import Item, Usage
from shared.models.events import ModelEvent, ModelFailed, TextDelta, TurnEnded
from shared.models.requests import ModelSettings
from shared.models.transcripts import oldest_exchanges, transcript
from tests.doubles import CountingTools, ScriptedModel
from tests.fixtures.agents import bound, leased
from tests.fixtures.items import assistant, call, image, request, result, user

_WORD = "word "


def talk(exchanges: int, words: int = 100) -> list[Item]:
    """Exchanges of about `words` tokens each."""
    return [
        item
        for nth in range(exchanges)
        for item in (user(_WORD * words, f"u{nth}"), assistant("yes", f"m{nth}"))
    ]


def keys(items: list[Item]) -> list[str]:
    return [item.key for item in items]


def test_a_request_that_fits_is_not_summarised() -> None:
    assert oldest_exchanges(request(*talk(5), context_tokens=2000)) == []


def test_the_oldest_exchanges_go_until_half_of_the_room_is_left() -> None:
    items = talk(20)
    oldest = oldest_exchanges(request(*items, context_tokens=2000))
    assert keys(oldest) == keys(items)[: len(oldest)]
    assert oldest[-1].key.startswith("m")
    left = len(items) - len(oldest)
    assert 4 <= left <= 14


def test_the_last_exchange_is_never_summarised() -> None:
    items = [*talk(1, 5000), user(_WORD * 5000, "last"), assistant("hm", "m")]
    assert keys(oldest_exchanges(request(*items, context_tokens=2000))) == ["u0", "m0"]
    assert oldest_exchanges(request(*items[-2:], context_tokens=2000)) == []


def test_a_transcript_has_texts_calls_and_results_and_says_where_an_image_was() -> None:
    items = [
        user([{"type": "text", "text": "look"}, image()]),
        assistant("I look.", "m"),
        call("c", "m", name="look", arguments='{"at": 1}'),
        result("c", "nothing"),
    ]
    lines = transcript(items).splitlines()
    assert lines == [
        "User: look",
        "[image]",
        "",
        "Assistant: I look.",
        '(called look with {"at": 1}: nothing)',
    ]


def test_a_summary_stands_for_the_items_up_to_the_one_it_names() -> None:
    summary = Item("s", "summary", {"text": "They said hello.", "through": "m1"})
    items = [*talk(4)[:6], summary, *talk(4)[6:]]
    shown = since_summary(items)
    assert keys(shown) == ["s", "u2", "m2", "u3", "m3"]
    assert shown[0].data["role"] == "user"
    assert shown[0].data["content"].endswith("They said hello.")


def test_only_the_newest_summary_counts_and_it_may_be_of_items_that_are_no_longer_loaded() -> None:
    old = Item("s", "summary", {"text": "old", "through": "m0"})
    new = Item("t", "summary", {"text": "new", "through": "gone"})
    assert keys(since_summary([*talk(2), old, new])) == ["t", "u0", "m0", "u1", "m1"]


def test_a_summary_is_summarised_only_with_the_exchange_after_it() -> None:
    summary = Item("s", "summary", {"text": "They said hello.", "through": "m0"})
    answer = [call("c", "m2"), result("c", _WORD * 5000)]
    last = [*talk(1), user("the question", "last"), summary, *answer]
    assert oldest_exchanges(request(*since_summary(last), context_tokens=2000)) == []

    between = [*talk(2), user("the question", "last"), summary, *answer]
    oldest = oldest_exchanges(request(*since_summary(between), context_tokens=2000))
    assert keys(oldest) == ["s", "u1", "m1"]


async def test_a_summary_is_written_without_tools_or_schema_and_closes_its_turn() -> None:
    settings = ModelSettings(output_schema={"type": "object"}, tool_choice="required", model="x")
    usage = Usage(input_tokens=7, output_tokens=2)
    model = ScriptedModel([TextDelta(" Short. "), TurnEnded("stop", usage)])
    agent = bound(model)
    [choice] = agent.models
    agent = bound(model, models=[choice._replace(settings=settings)])

    summary = await Summaries(agent).make(request(*talk(20), context_tokens=2000))

    assert summary
    assert summary.item.data["text"] == "Short."
    assert summary.usage == usage
    assert (summary.step.commits, summary.step.closes) == (True, True)
    assert [draft.type for draft in summary.step.drafts] == [
        "item.started",
        "item.completed",
        "turn.finished",
    ]
    [made] = model.requests
    assert made.settings == ModelSettings(model="x")
    assert not made.tools


_FAILED = ModelFailed("model_rejected", "No.", retryable=False)


@pytest.mark.parametrize(
    "script",
    [
        [_FAILED],
        [TextDelta("  "), TurnEnded("stop", Usage())],
        [TextDelta("Only the beg"), TurnEnded("length", Usage())],
        [TextDelta("I cannot."), TurnEnded("refusal", Usage())],
    ],
)
async def test_without_a_whole_summary_there_is_no_item_and_no_second_try(
    script: list[ModelEvent | Exception],
) -> None:
    model = ScriptedModel(script)
    summaries = Summaries(bound(model))
    assert await summaries.make(request(*talk(20), context_tokens=2000)) is None
    assert await summaries.make(request(*talk(20), context_tokens=2000)) is None
    assert len(model.requests) == 1


async def test_the_members_of_a_body_that_ask_for_another_answer_are_left_out() -> None:
    model = ScriptedModel([TextDelta("Short."), TurnEnded("stop", Usage())])
    [choice] = bound(model).models
    body = {"response_format": {"type": "json_object"}, "seed": 7}
    agent = bound(model, models=[choice._replace(settings=ModelSettings(extra_body=body))])
    assert await Summaries(agent).make(request(*talk(20), context_tokens=2000))
    assert model.requests[0].settings.extra_body == {"seed": 7}


async def test_a_long_summary_is_clipped_to_an_eighth_of_the_room() -> None:
    model = ScriptedModel([TextDelta(_WORD * 4000), TurnEnded("stop", Usage())])
    summary = await Summaries(bound(model)).make(request(*talk(20), context_tokens=2000))
    assert summary
    assert len(summary.item.data["text"]) < 5 * 2000 / 8


async def test_a_correction_begins_no_exchange() -> None:
    faulty = assistant(_WORD * 2000, "m1", output_faults="people: Field required")
    items = [*talk(1), user("the question", "last"), faulty]
    model = ScriptedModel(
        [TextDelta("Short."), TurnEnded("stop", Usage())],
        [TextDelta("Fixed."), TurnEnded("stop", Usage())],
    )
    agent = bound(model, context_tokens=2000)
    steps = Loop(agent, "be good", leased(items), CountingTools({})).steps()
    drafts = [draft async for step in steps for draft in step.drafts]

    [through] = [
        d.data["item"]["through"]
        for d in drafts
        if d.data.get("kind") == "summary" and "item" in d.data
    ]
    assert through == "m0"
    assert keys([*model.requests[1].items])[1:] == ["last", "m1", "m1-correction"]
