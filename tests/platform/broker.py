"""Knative Eventing's Broker with one Trigger: it delivers the events posted to its address to one subscriber."""

import asyncio
from typing import Literal

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from tests.platform.proxy import LOOPBACK, listening, passed_on
from tests.platform.rules import Delivery
from tests.platform.session import WithSession

#: In memory: the answer waits for the delivery, and a sender that disconnects cancels it (pkg/channel/fanout in
#: knative/eventing). Kafka and RabbitMQ: an event is safe in a log or a queue before it is delivered.
Acknowledges = Literal["after delivery", "before delivery"]
#: `SelectiveRetry` in knative/eventing's pkg/kncloudevents/retries.go, and all of 500 and above.
_RETRIED = (404, 408, 409, 429)


class Broker(WithSession):
    """Retries, and sends events that the subscriber did not accept to the dead letter's address."""

    def __init__(
        self,
        subscriber: str,
        acknowledges: Acknowledges,
        delivery: Delivery,
        dead_letter: str | None = None,
    ) -> None:
        super().__init__()
        self.url = ""
        #: The answers to its requests, in order; None where none came.
        self.answers: list[int | None] = []
        self._subscriber = subscriber
        self._acknowledges_first = acknowledges == "before delivery"
        self._delivery = delivery
        self._dead_letter = dead_letter
        self._deliveries: set[asyncio.Future[bool]] = set()

    async def _enter(self) -> None:
        port = await self._stack.enter_async_context(listening(self._serve))
        self._stack.push_async_callback(self._stop)
        self.url = f"http://{LOOPBACK}:{port}/"

    async def _stop(self) -> None:
        for delivery in self._deliveries:
            delivery.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)

    @property
    def undelivered(self) -> int:
        """How many deliveries are open in a Broker that acknowledges first."""
        return len(self._deliveries)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        event = passed_on(request.headers), await request.content.read()
        event[0].popall("Host", None)
        if self._acknowledges_first:
            delivery = asyncio.ensure_future(self._deliver(*event))
            self._deliveries.add(delivery)
            delivery.add_done_callback(self._deliveries.discard)
            return web.Response(status=202)
        return web.Response(status=202 if await self._deliver(*event) else 500)

    async def _deliver(self, headers: CIMultiDict[str], body: bytes) -> bool:
        """Whether the subscriber accepted it."""
        for retry in range(self._delivery.retries + 1):
            if retry:
                await asyncio.sleep(self._delivery.backoff * 2 ** (retry - 1))
            status = await self._post(self._subscriber, headers, body)
            if status and status < 300:
                return True
            if status and status < 500 and status not in _RETRIED:
                break
        if self._dead_letter is None:
            return False
        status = await self._post(self._dead_letter, headers, body)
        return status is not None and status < 300

    async def _post(self, url: str, headers: CIMultiDict[str], body: bytes) -> int | None:
        status = None
        try:
            async with (
                asyncio.timeout(self._delivery.timeout),
                self._session.post(url, headers=headers, data=body) as response,
            ):
                await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError):
            pass
        finally:
            self.answers.append(status)
        return status
