"""The questions of a tool, as its server sent them, as one form."""

from typing import Any

import pytest

from shared.agents.forms import question_of
from shared.agents.tools import Question, Result

_NAME = {"type": "object", "properties": {"name": {"type": "string"}}}


def form(message: Any, schema: Any) -> dict[str, Any]:
    params = {"message": message, "requestedSchema": schema}
    return {"method": "elicitation/create", "params": params}


def test_each_of_several_questions_is_the_title_of_its_fields() -> None:
    one = question_of({"a": form("Who?", {**_NAME, "title": "Name"})}, {})
    two = question_of({"a": form("Who?", {**_NAME, "title": "Name"}), "b": form("And?", _NAME)}, {})
    assert isinstance(one, Question)
    assert isinstance(two, Question)
    assert one.schema["title"] == "Name"
    assert (two.message, two.schema["required"]) == ("Who?\nAnd?", ["a", "b"])
    titles = [each["title"] for each in two.schema["properties"].values()]
    assert titles == ["Who?", "And?"]


@pytest.mark.parametrize(
    "requests", [None, [1], "x", {}, {"a": 5}, {"a": {"method": "roots/list"}}]
)
def test_what_is_no_form_is_not_shown(requests: Any) -> None:
    assert isinstance(question_of(requests, {}), Result)


@pytest.mark.parametrize(
    "schema", [None, 5, [], {"type": "string"}, {"properties": None}, {"properties": [1]}]
)
def test_a_schema_that_is_no_objects_is_an_empty_form(schema: Any) -> None:
    made = question_of({"a": form(None, schema), "b": {"method": "elicitation/create"}}, {})
    assert isinstance(made, Question)
    assert [{**each, "title": ""} for each in made.schema["properties"].values()] == [
        {"type": "object", "title": ""}
    ] * 2
