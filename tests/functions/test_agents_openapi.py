"""`/openapi.json` of an agent: every endpoint and code of docs/api.md, and responses as agents send them."""

import re
from typing import Any

import jsonschema_rs
import pytest

from functions.assistant.app import app as assistant
from functions.threads.app import app as threads
from local.environment import ROOT
from shared.http import STATUS
from shared.http.wires.agui.run_input import ConnectInput, RunAgentInput
from tests.doubles import ModelServer, says
from tests.fixtures.functions import Served, run_input

DOCUMENT: dict[str, Any] = assistant.openapi()
#: Codes that no documented route has: of unknown addresses, and of functions that users cannot reach.
ELSEWHERE = {
    "not_found",
    "method_not_allowed",
    "unsupported_media_type",
    "forbidden",
    "invalid_event",
}


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def described(document: dict[str, Any]) -> set[str]:
    """The codes of all problems of a document."""
    texts = (
        response["description"]
        for operation in operations(document).values()
        for response in operation["responses"].values()
        if "application/problem+json" in response.get("content", {})
    )
    return {code for text in texts for code in re.findall(r"`(\w+)`:", text)}


def test_it_has_the_endpoints_of_the_page() -> None:
    page = (ROOT / "docs/api.md").read_text()
    table = page.partition("## The API of an agent")[2].partition("## Starting a run")[0]
    found = re.findall(r"^\| `(GET|POST) (/[^`]*)` \|", table, re.MULTILINE)
    written = {(method, path.replace("runId", "run_id")) for method, path in found}
    assert written == operations(DOCUMENT).keys()


def test_the_documents_have_every_code() -> None:
    assert described(DOCUMENT) | described(threads.openapi()) | ELSEWHERE == STATUS.keys()


def test_it_is_a_valid_document() -> None:
    names = [each["operationId"] for each in operations(DOCUMENT).values()]
    assert len(set(names)) == len(names)
    references = set(re.findall(r"'#/components/schemas/(\w+)'", str(DOCUMENT)))
    assert references <= DOCUMENT["components"]["schemas"].keys()
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)
    assert DOCUMENT["security"] == [{"supabase": []}]


@pytest.mark.parametrize(("path", "model"), [("/runs", RunAgentInput), ("/connect", ConnectInput)])
def test_its_examples_are_read(path: str, model: type[RunAgentInput | ConnectInput]) -> None:
    content = operations(DOCUMENT)["POST", path]["requestBody"]["content"]["application/json"]
    validator = validator_of(content["schema"])
    for example in content["examples"].values():
        validator.validate(example["value"])
        model.model_validate(example["value"])


async def test_responses_are_as_it_describes_them(agent: Served, model: ModelServer) -> None:
    model.will(says("Hel", "lo"))
    person = await agent.person()
    sent = run_input("Hi")
    async with person.stream("POST", "/runs", sent) as frames:
        check("POST", "/runs", frames.response.status_code, frames.response.headers)
        await frames.rest()
    address = f"/runs/{sent['runId']}"
    for method, path, body in (
        ("GET", "/runs/{run_id}", None),
        ("POST", "/runs/{run_id}/cancel", None),
        ("GET", "/runs/{run_id}/events", None),
        ("POST", "/connect", {"threadId": sent["threadId"]}),
        ("POST", "/connect", {"threadId": "unknown"}),
        ("POST", "/runs", {**sent, "state": 1}),
        ("POST", "/runs", {}),
    ):
        response = await person.request(method, path.replace("/runs/{run_id}", address), body)
        schema = check(method, path, response.status_code, response.headers)
        if schema.get("type") != "string":
            validator_of(schema).validate(response.json())


def check(method: str, path: str, status: int, headers: Any) -> dict[str, Any]:
    """The schema that the document has for a response; it must have its status and its type."""
    described = operations(DOCUMENT)[method, path]["responses"][str(status)]
    kind = headers["content-type"].partition(";")[0]
    schema: dict[str, Any] = described["content"][kind]["schema"]
    return schema


def validator_of(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for({**schema, "components": DOCUMENT["components"]})
