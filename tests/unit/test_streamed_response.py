"""A response in parts: sent as they come, ended by a disconnect, and closed exactly once."""

import asyncio
from collections.abc import AsyncGenerator, MutableMapping
from typing import Any

import pytest

from shared.http.exchange import StreamedResponse

Message = MutableMapping[str, Any]


class Client:
    """The other side of an ASGI application: what it was sent, and when it disconnects."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.is_gone = asyncio.Event()
        self.closed = 0

    async def receive(self) -> Message:
        await self.is_gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        await asyncio.sleep(0)

    async def parts(
        self, *texts: bytes, then: BaseException | None = None
    ) -> AsyncGenerator[bytes, None]:
        """These texts, and then an error, or silence if there is none."""
        try:
            for text in texts:
                yield text
            if then:
                raise then
            await asyncio.Event().wait()
        finally:
            self.closed += 1

    async def whole(self, *texts: bytes) -> AsyncGenerator[bytes, None]:
        for text in texts:
            yield text
        self.closed += 1

    async def respond_here(self, parts: AsyncGenerator[bytes, None]) -> None:
        response = StreamedResponse(parts, "text/plain", {"x-a": "b"})
        await response({"type": "http"}, self.receive, self.send)

    def respond(self, parts: AsyncGenerator[bytes, None]) -> "asyncio.Task[None]":
        return asyncio.ensure_future(self.respond_here(parts))


async def settle() -> set["asyncio.Task[Any]"]:
    """Let everything run that can; the tasks that are left besides the test's own."""
    for _ in range(10):
        await asyncio.sleep(0)
    return asyncio.all_tasks() - {asyncio.current_task()}


async def test_all_parts_are_sent_and_nothing_is_left() -> None:
    client = Client()
    await client.respond(client.whole(b"a", b"b"))

    head, *parts = client.sent
    assert head["status"] == 200
    assert {(b"x-a", b"b"), (b"content-type", b"text/plain; charset=utf-8")} <= {*head["headers"]}
    assert [(part["body"], part["more_body"]) for part in parts] == [
        (b"a", True),
        (b"b", True),
        (b"", False),
    ]
    assert client.closed == 1
    assert not await settle()


async def test_a_disconnect_ends_a_silent_response_without_an_error() -> None:
    client = Client()
    response = client.respond(client.parts(b"a"))
    await settle()
    client.is_gone.set()

    await response
    assert [part.get("body") for part in client.sent] == [None, b"a"]
    assert client.closed == 1
    assert not await settle()


async def test_another_cancellation_is_passed_on() -> None:
    client = Client()
    response = client.respond(client.parts())
    await settle()
    response.cancel()

    with pytest.raises(asyncio.CancelledError):
        await response
    assert client.closed == 1
    assert not await settle()


@pytest.mark.parametrize("turns", [0, 1])
async def test_a_cancellation_beside_a_disconnect_is_passed_on(turns: int) -> None:
    client = Client()
    response = client.respond(client.parts())
    await settle()
    client.is_gone.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    response.cancel()

    with pytest.raises(asyncio.CancelledError):
        await response
    assert not await settle()


async def test_an_error_of_the_parts_is_raised_and_the_response_stays_open() -> None:
    client = Client()
    response = client.respond(client.parts(b"a", then=ValueError("broken")))

    with pytest.raises(ValueError, match="broken"):
        await response
    assert client.sent[-1]["more_body"], "half a response must not look complete"
    assert client.closed == 1
    assert not await settle()


@pytest.mark.parametrize("turns", range(12))
async def test_a_disconnect_at_any_moment_cancels_nothing_after_the_response(turns: int) -> None:
    client = Client()
    has_gone_on = False

    async def request() -> None:
        nonlocal has_gone_on
        await client.respond_here(client.whole(b"a", b"b"))
        # A late cancellation would end this.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        has_gone_on = True

    task = asyncio.ensure_future(request())
    for _ in range(turns):
        await asyncio.sleep(0)
    client.is_gone.set()
    await task

    assert has_gone_on
    assert not await settle()
