"""A request that its server refuses is sent again without what may be the reason, so that the thread stays usable."""

from collections.abc import AsyncIterator

import pytest

from shared.core.json import Json
from shared.models.events import ModelFailed
from shared.models.requests import has_images, without_images
from tests.doubles import ModelServer, Reply, model_server, says
from tests.fixtures.items import assistant, call, image, request, result, user
from tests.fixtures.model_servers import text_from

REFUSED = Reply([b'{"error": {"message": "canary"}}'], status=400)


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with model_server() as running:
        yield running


async def answer(server: ModelServer, *, with_image: bool, with_ids: bool) -> str:
    """The model's answer to a thread."""
    origin = {"api": "chat_completions", "base_url": server.url}
    own: Json = {"provider_id": "theirs", "provider": origin} if with_ids else {}
    shown = [image()] if with_image else []
    wanted = request(
        user([{"type": "text", "text": "look"}, *shown]),
        call("c1", **own),
        result("c1"),
        assistant("nice", "n"),
        user("and now?", "v"),
    )
    return await text_from(server, wanted)


def contents(server: ModelServer) -> list[str]:
    """Every request, as text."""
    return [str(sent["messages"]) for sent in server.requests]


def test_an_image_in_the_older_form_is_one_too() -> None:
    part = {"type": "binary", "mimeType": "image/png", "data": "AAAA"}
    wanted = request(user([{"type": "text", "text": "look"}, part]))
    assert has_images(wanted)
    assert not has_images(without_images(wanted))


@pytest.mark.parametrize("status", [400, 404, 415, 422])
async def test_images_that_a_server_refuses_are_left_out(server: ModelServer, status: int) -> None:
    server.will(Reply(status=status), says("fine"))

    assert await answer(server, with_image=True, with_ids=False) == "fine"
    first, second = contents(server)
    assert "image_url" in first
    assert "image_url" not in second
    assert "[an image that this model cannot read]" in second


async def test_ids_go_first_and_images_next(server: ModelServer) -> None:
    server.will(REFUSED, REFUSED, says("fine"))

    assert await answer(server, with_image=True, with_ids=True) == "fine"
    shown = [("theirs" in sent, "image_url" in sent) for sent in contents(server)]
    assert shown == [(True, True), (False, True), (False, False)]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_for_another_reason_stays(server: ModelServer, status: int) -> None:
    server.will(Reply(status=status))

    with pytest.raises(ModelFailed, match=str(status)):
        await answer(server, with_image=True, with_ids=True)


async def test_a_request_without_images_and_ids_is_sent_once(server: ModelServer) -> None:
    server.will(REFUSED)

    with pytest.raises(ModelFailed) as failed:
        await answer(server, with_image=False, with_ids=False)
    assert (failed.value.code, failed.value.retryable) == ("model_rejected", False)
