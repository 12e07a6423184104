"""The two kinds of Broker: with and without a sender that waits for the delivery."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from time import monotonic

import httpx
import pytest
from aiohttp import web

from tests.platform.broker import Acknowledges, Broker
from tests.platform.proxy import listening
from tests.platform.rules import Delivery
from tests.platform.small import until

DELIVERY = Delivery(timeout=5, retries=2, backoff=0.1)
BOTH: list[Acknowledges] = ["after delivery", "before delivery"]


@dataclass
class Subscriber:
    """Answers with these statuses, in turn; the last one again and again."""

    statuses: list[int]
    seconds: float = 0
    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    dead: list[bytes] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        if request.path == "/dead":
            self.dead.append(body)
            return web.Response(status=204)
        self.bodies.append(body)
        self.types.append(request.headers["ce-type"])
        self.at.append(monotonic())
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("answered")
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return web.Response(status=status)


@asynccontextmanager
async def subscribed(*statuses: int, seconds: float = 0) -> AsyncIterator[Subscriber]:
    subscriber = Subscriber([*statuses], seconds)
    async with listening(subscriber.serve) as port:
        subscriber.url = f"http://127.0.0.1:{port}"
        yield subscriber


async def send(broker: Broker, seconds: float = 10) -> httpx.Response:
    async with httpx.AsyncClient(timeout=seconds) as client:
        return await client.post(broker.url, content=b"event", headers={"ce-type": "waiting"})


async def test_in_memory_the_sender_waits_for_the_delivery() -> None:
    async with (
        subscribed(204, seconds=0.3) as subscriber,
        Broker(subscriber.url, "after delivery", DELIVERY) as broker,
    ):
        at = monotonic()
        assert (await send(broker)).status_code == 202
        assert monotonic() - at >= 0.3
    assert (subscriber.bodies, subscriber.types) == ([b"event"], ["waiting"])


async def test_in_memory_a_sender_that_gives_up_cancels_the_delivery() -> None:
    async with (
        subscribed(204, seconds=60) as subscriber,
        Broker(subscriber.url, "after delivery", replace(DELIVERY, timeout=60)) as broker,
    ):
        with pytest.raises(httpx.ReadTimeout):
            await send(broker, seconds=0.3)
        await until(lambda: subscriber.ended)
    assert subscriber.ended == ["cancelled"]
    assert len(subscriber.bodies) == 1


async def test_a_broker_that_acknowledges_first_delivers_without_its_sender() -> None:
    async with (
        subscribed(204, seconds=0.5) as subscriber,
        Broker(subscriber.url, "before delivery", DELIVERY) as broker,
    ):
        assert (await send(broker)).status_code == 202
        assert subscriber.ended == []
        await until(lambda: not broker.undelivered)
    assert subscriber.ended == ["answered"]


@pytest.mark.parametrize("acknowledges", BOTH)
@pytest.mark.parametrize("status", [404, 408, 409, 429, 500, 503])
async def test_temporary_refusals_are_retried_with_growing_pauses(
    acknowledges: Acknowledges, status: int
) -> None:
    async with (
        subscribed(status, status, 204) as subscriber,
        Broker(subscriber.url, acknowledges, DELIVERY) as broker,
    ):
        assert (await send(broker)).status_code == 202
        await until(lambda: len(broker.answers) == 3)
    assert broker.answers == [status, status, 204]
    first, second, third = subscriber.at
    assert second - first >= 0.1
    assert third - second >= 0.2


async def test_a_permanent_refusal_is_not_retried() -> None:
    async with (
        subscribed(400) as subscriber,
        Broker(subscriber.url, "after delivery", DELIVERY) as broker,
    ):
        assert (await send(broker)).status_code == 500
    assert broker.answers == [400]


async def test_an_absent_subscriber_is_tried_again_and_the_sender_gets_an_error() -> None:
    async with Broker("http://127.0.0.1:9", "after delivery", DELIVERY) as broker:
        assert (await send(broker)).status_code == 500
    assert broker.answers == [None] * 3


async def test_a_delivery_that_takes_too_long_is_cancelled_and_tried_again() -> None:
    async with (
        subscribed(204, seconds=20) as subscriber,
        Broker(subscriber.url, "after delivery", replace(DELIVERY, timeout=0.3)) as broker,
    ):
        assert (await send(broker)).status_code == 500
        await until(lambda: len(subscriber.ended) == 3)
    assert subscriber.ended == ["cancelled"] * 3


@pytest.mark.parametrize("acknowledges", BOTH)
async def test_an_undelivered_event_goes_to_the_dead_letter(acknowledges: Acknowledges) -> None:
    async with (
        subscribed(503) as subscriber,
        Broker(subscriber.url, acknowledges, DELIVERY, subscriber.url + "/dead") as broker,
    ):
        assert (await send(broker)).status_code == 202
        await until(lambda: subscriber.dead)
        await until(lambda: not broker.undelivered)
    assert subscriber.dead == [b"event"]
    assert broker.answers == [503] * 3 + [204]
