"""Clients: each talks, is cut off, comes back with its cursor, and keeps all it was shown."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

from local.accounts import SignIn
from local.keys import Keys
from shared.core.json import Json
from tests.chaos.view import View

_PATIENCE = 120.0
_AGAIN = 0.05
#: Refusals that pass: the process was full, stopping or gone, or Postgres away.
_PASSING = frozenset((429, 499, 500, 502, 503, 504))


class Cut(Exception):
    """The connection ended before the run did."""


@dataclass
class Asked:
    """A run a client started, and what it saw of it."""

    run: str
    thread: str
    task: str
    view: View
    is_cancelled: bool = False
    trouble: list[str] = field(default_factory=list)


@dataclass
class Client:
    """One user with one connection at a time. `has_ended` looks into the database, past every process."""

    http: httpx.AsyncClient
    gateway: str
    keys: Keys
    who: SignIn
    drawn: random.Random
    has_ended: Callable[[str], Awaitable[bool]]
    asked: list[Asked] = field(default_factory=list)
    cuts: int = 0

    async def talk(self, stop: asyncio.Event) -> None:
        """Conversation after conversation, until told to stop."""
        nth = 0
        while not stop.is_set():
            nth += 1
            thread = f"{self.who.user}-thread-{nth}"
            for turn in range(self.drawn.randint(1, 3)):
                await self._ask(thread, f"{thread}-{turn}")
                if stop.is_set():
                    return

    async def _ask(self, thread: str, name: str) -> None:
        """Start a run in one of the ways there are, and see it to its end."""
        way = self.drawn.choices(("stream", "background", "cancel", "queue"), (12, 3, 2, 2))[0]
        first = self._new(thread, name)
        together = [first, self._new(thread, f"{name}-next")] if way == "queue" else [first]
        try:
            async with asyncio.timeout(_PATIENCE):
                if way == "background":
                    await self._post_until_taken(first, background=True)
                work = [self._see(one, way) for one in together]
                if way == "cancel":
                    work.append(self._cancel(first))
                await asyncio.gather(*work)
        except TimeoutError:
            for one in together:
                if one.view.ending is None:
                    one.trouble.append("the client never saw its end")

    def _new(self, thread: str, name: str) -> Asked:
        asked = Asked(name, thread, f"task-{name}", View(name))
        self.asked.append(asked)
        return asked

    async def _see(self, asked: Asked, way: str) -> None:
        """Read a run to its end, leg after leg, whatever happens to the connection."""
        # A queued run waits behind the first: posted second, it must not be admitted before it.
        if way == "queue" and asked.run.endswith("-next"):
            await asyncio.sleep(0.3)
        is_known = way == "background"
        while asked.view.ending is None:
            try:
                is_known = await self._leg(asked, is_known)
            except (httpx.HTTPError, Cut):
                # Some stay away for so long that others have gone on with the run, past where they were.
                is_away = self.drawn.random() < 0.1
                await asyncio.sleep(self.drawn.uniform(0.5, 4.0) if is_away else _AGAIN)
                # What may have been taken is asked for again in the same words: that is what a runId is for.
                is_known = is_known or bool(asked.view.cursor)

    async def _leg(self, asked: Asked, is_known: bool) -> bool:
        if not is_known:
            asked.view.reconnect("post")
            request = self._request("POST", "/runs", self._body(asked))
        elif asked.view.cursor and self.drawn.random() < 0.8:
            asked.view.reconnect(f"behind {asked.view.cursor}")
            path = f"/runs/{asked.run}/events"
            request = self._request("GET", path, cursor=asked.view.cursor)
        else:
            asked.view.reconnect("connect")
            body = {"threadId": asked.thread, "runId": asked.run}
            request = self._request("POST", "/connect", body)
        response = await self.http.send(request, stream=True)
        try:
            if response.status_code == 404 and is_known:
                return False
            await self._read(asked, response)
            return True
        finally:
            await response.aclose()

    async def _read(self, asked: Asked, response: httpx.Response) -> None:
        if response.status_code != 200:
            await response.aread()
            if response.status_code not in _PASSING:
                asked.trouble.append(f"refused with {response.status_code}: {response.text[:200]}")
                raise Cut
            raise Cut
        patience = self.drawn.expovariate(1 / 60) if self.drawn.random() < 0.3 else None
        cursor: str | None = None
        count = 0
        async for line in response.aiter_lines():
            if line.startswith("id: "):
                cursor = line[4:]
            elif line.startswith("data: "):
                frame = json.loads(line[6:])
                if frame["type"] == "CUSTOM":
                    return
                asked.view.take(frame, cursor)
                cursor, count = None, count + 1
                await self._check_end(asked)
                if patience is not None and count > patience and asked.view.ending is None:
                    self.cuts += 1
                    raise Cut
        if asked.view.ending is None:
            raise Cut

    async def _check_end(self, asked: Asked) -> None:
        if asked.view.ending is not None and not await self.has_ended(asked.run):
            asked.view.broken.append("an end that is not in the database")

    async def _cancel(self, asked: Asked) -> None:
        await asyncio.sleep(self.drawn.uniform(0.1, 1.5))
        while asked.view.ending is None:
            with suppress(httpx.HTTPError):
                # Before it is sent: it may do its work, and its answer be lost.
                asked.is_cancelled = True
                path = f"/runs/{asked.run}/cancel"
                response = await self.http.send(self._request("POST", path))
                if response.status_code in (200, 202):
                    return
            await asyncio.sleep(0.2)

    async def _post_until_taken(self, asked: Asked, **props: bool) -> None:
        while True:
            with suppress(httpx.HTTPError):
                body = self._body(asked, **props)
                response = await self.http.send(self._request("POST", "/runs", body))
                if response.status_code == 202:
                    return
            await asyncio.sleep(_AGAIN)

    def _body(self, asked: Asked, **props: bool) -> Json:
        message = {"id": f"message-of-{asked.run}", "role": "user", "content": asked.task}
        forwarded = {"resumable": True, "busyPolicy": "enqueue", **props}
        ids = {"threadId": asked.thread, "runId": asked.run}
        return {**ids, "messages": [message], "forwardedProps": forwarded}

    def _request(
        self, method: str, path: str, body: Json | None = None, cursor: str = ""
    ) -> httpx.Request:
        signed = {"authorization": f"Bearer {self.who.token(self.keys.user)}"}
        if cursor:
            signed["last-event-id"] = cursor
        url = f"{self.gateway}/agent{path}"
        return self.http.build_request(method, url, json=body, headers=signed)
