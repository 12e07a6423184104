"""Functions on AWS Lambda, given the events that API Gateway and Function URLs send."""

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import quote, unquote

import pytest
from fastapi import FastAPI

from functions.assistant.app import agent as assistant
from functions.threads.app import router as threads_router
from functions.threads.app import thread_services
from shared.aws import LambdaHandler
from shared.core.json import Json
from shared.http.agents import agent_app
from shared.http.app import create_app
from tests.doubles import ModelServer, says
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Served, run_input, settings_for
from tests.fixtures.lambda_events import api_gateway, function_url


@contextmanager
def container(app: FastAPI) -> Iterator[Callable[[Json], Json]]:
    """A container of Lambda: one thread, in which the handler is made once and then called."""
    with ThreadPoolExecutor(1) as thread:
        handler = thread.submit(LambdaHandler, app).result()
        try:
            yield lambda event: thread.submit(handler, event, None).result()
        finally:
            thread.submit(handler.close).result()


async def test_a_threads_function_answers_an_api_gateway(
    database: TestDatabase, model: ModelServer, agent: Served
) -> None:
    person = await agent.person()
    person.function = "threads"
    app = create_app(
        "threads",
        threads_router,
        thread_services,
        serves_users=True,
        settings=settings_for(database, model),
    )
    with container(app) as call:
        for _ in range(2):
            headers = person.headers("GET", "/threads")
            answer = await asyncio.to_thread(
                call, api_gateway("GET", "/threads", headers, "limit=5")
            )
            assert (answer["statusCode"], json.loads(answer["body"])["data"]) == (200, [])
        refused = await asyncio.to_thread(call, api_gateway("GET", "/threads", {}))

    assert refused["statusCode"] == 401
    assert json.loads(refused["body"])["code"] == "unauthorized"


@pytest.mark.parametrize("is_decoded", [True, False])
@pytest.mark.parametrize("id_", ["a:b", "a b", "ü", "a%3Ab", "%41", "plain"])
async def test_an_id_with_special_characters_is_the_same_behind_api_gateway(
    database: TestDatabase, model: ModelServer, agent: Served, id_: str, is_decoded: bool
) -> None:
    person = await agent.person()
    person.function = "threads"
    settings = settings_for(database, model)
    app = create_app(
        "threads", threads_router, thread_services, serves_users=True, settings=settings
    )

    def event(path: str) -> Json:
        """An HTTP API decodes the path, and a Function URL does not."""
        sent = api_gateway("GET", path, person.headers("GET", path))
        return {**sent, "rawPath": unquote(path) if is_decoded else path}

    headers = person.headers("POST", "/threads")
    made = function_url("POST", "/threads", headers, {"threadId": id_})
    with container(app) as call:
        assert (await asyncio.to_thread(call, made))["statusCode"] == 201
        for path in (f"/threads/{quote(id_)}", f"/threads/{quote(id_, safe=':')}"):
            found = await asyncio.to_thread(call, event(path))
            assert (found["statusCode"], json.loads(found["body"])["threadId"]) == (200, id_)
        stolen = {**event("/threads/another"), "rawPath": f"/threads/{id_}"}
        assert (await asyncio.to_thread(call, stolen))["statusCode"] == 401


async def test_an_agent_function_answers_a_function_url_with_a_whole_run(
    database: TestDatabase, model: ModelServer, agent: Served
) -> None:
    model.will(says("Hel", "lo"))
    person = await agent.person()
    app = agent_app("assistant", assistant, settings=settings_for(database, model))
    with container(app) as call:
        event = function_url("POST", "/runs", person.headers("POST", "/runs"), run_input("hi"))
        answer = await asyncio.to_thread(call, event)

    assert answer["statusCode"] == 200
    assert answer["headers"]["content-type"].startswith("text/event-stream")
    lines = answer["body"].splitlines()
    frames = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert frames[-1]["type"] == "RUN_FINISHED"
    assert "".join(frame.get("delta", "") for frame in frames) == "Hello"
