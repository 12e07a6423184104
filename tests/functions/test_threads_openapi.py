"""`/openapi.json` is correct: valid and invalid requests made from it get the answers that it describes."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode, checks
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from tests.fixtures.functions import Person
from tests.fixtures.threads import Library

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
#: Each example of these is a request.
_SHARE = 20


@pytest.mark.hypothesis
async def test_every_answer_is_as_the_document_says(threads: Library) -> None:
    person = await threads.person()
    await threads.talk(person, "t", ("question", "answer"))
    await threads.end(await threads.begin(person, "t", "r"), "answer", usage={"input_tokens": 1})

    # Schemathesis blocks, so it sends requests from a thread of its own.
    seen = await asyncio.to_thread(explore, threads, person)

    assert len(seen) == len(threads.app.openapi()["paths"]) + 3, (
        "three addresses take other methods too"
    )
    succeeded = {name for name, statuses in seen.items() if any(s < 300 for s in statuses)}
    assert succeeded == seen.keys()
    assert all(any(status >= 400 for status in seen[name]) for name in seen if name not in LENIENT)


#: Operations whose requests cannot be wrong: they have no parameters.
LENIENT = {"exportMine", "deleteMine"}


def explore(threads: Library, person: Person) -> dict[str, set[int]]:
    """Call every operation with valid and invalid requests. Returns the statuses of each."""
    # Authentication is tested elsewhere: each request here is signed.
    schema = schemathesis.openapi.from_dict({**threads.app.openapi(), "security": []})
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    seen: dict[str, set[int]] = {}
    # Deletions last, or there is nothing to read.
    for operation in sorted(operations, key=lambda found: found.method == "delete"):
        raw = operation.definition.raw
        statuses = seen.setdefault(raw["operationId"], set())
        if "{" in operation.path:
            ask_as(GenerationMode.POSITIVE, operation, threads.base, person, statuses, known=True)
        for mode in (
            GenerationMode
            if raw.keys() & {"parameters", "requestBody"}
            else [GenerationMode.POSITIVE]
        ):
            ask_as(mode, operation, threads.base, person, statuses)
    return seen


def ask_as(
    mode: GenerationMode,
    operation: "APIOperation[Any, Any, Any, Any]",
    base: str,
    person: Person,
    statuses: set[int],
    *,
    known: bool = False,
) -> None:
    """Call one operation several times; `known`: with the run and the thread that exist."""

    @settings(
        max_examples=settings().max_examples // _SHARE,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: "Case[Any]") -> None:
        if known:
            for cursor in case.query.keys() & {"after", "before"}:
                del case.query[cursor]
            case.path_parameters.update(
                dict.fromkeys(case.path_parameters, "r") | {"thread_id": "t"}
            )
        request = requests.Request(**case.as_transport_kwargs(base_url=base)).prepare()
        path = urlsplit(str(request.url)).path
        request.headers.update(person.headers(str(request.method), path))
        # A connection each, as the server closes one that waits long for its next request, and on a busy machine an
        # example takes long to find. No time-out: how long an answer takes says here how busy the machine is.
        with requests.Session() as session:
            response = session.send(request)
        statuses.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    send()
