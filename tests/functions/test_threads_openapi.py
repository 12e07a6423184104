"""What `/openapi.json` says is so: requests made from it, right and wrong ones, get the answers it describes."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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
_EXAMPLES = 10


async def test_every_answer_is_as_the_document_says(threads: Library) -> None:
    person = await threads.person()
    await threads.talk(person, "t", ("question", "answer"))
    await threads.end(await threads.begin(person, "t", "r"), "answer", usage={"input_tokens": 1})

    # Schemathesis blocks, so it asks from a thread of its own.
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
    """Ask for every operation, with what it takes and with what it does not; the statuses of each."""
    # Who may ask is another test's: each request here is signed.
    schema = schemathesis.openapi.from_dict({**threads.app.openapi(), "security": []})
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    seen: dict[str, set[int]] = {}
    with requests.Session() as session:
        # Deletions last, or there is nothing to read.
        for operation in sorted(operations, key=lambda found: found.method == "delete"):
            statuses = seen.setdefault(operation.definition.raw["operationId"], set())
            takes = operation.definition.raw.keys() & {"parameters", "requestBody"}
            for mode in GenerationMode if takes else (GenerationMode.POSITIVE,):
                ask_as(mode, operation, session, threads.base, person, statuses)
    return seen


def ask_as(
    mode: GenerationMode,
    operation: "APIOperation[Any, Any, Any, Any]",
    session: requests.Session,
    base: str,
    person: Person,
    statuses: set[int],
) -> None:
    """Ask for one operation some times, half of them about a thread that is there."""

    @settings(
        max_examples=_EXAMPLES,
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), is_known=st.booleans())
    def ask(case: "Case[Any]", is_known: bool) -> None:
        if is_known and case.path_parameters and mode is GenerationMode.POSITIVE:
            for cursor in case.query.keys() & {"after", "before"}:
                del case.query[cursor]
            case.path_parameters.update(
                dict.fromkeys(case.path_parameters, "r") | {"thread_id": "t"}
            )
        request = requests.Request(**case.as_transport_kwargs(base_url=base)).prepare()
        path = urlsplit(str(request.url)).path
        request.headers.update(person.headers(str(request.method), path))
        response = session.send(request, timeout=60)
        statuses.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    ask()
