"""Clients: each starts runs, is cut off, resumes from its cursor, and keeps all that it was shown."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
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
class StartedRun:
    """A run a client started, and what it saw of it."""

    client_run_id: str
    thread: str
    agent: str
    task: str
    view: View
    is_cancelled: bool = False
    trouble: list[str] = field(default_factory=list)


@dataclass
class Client:
    """One user with one connection at a time, and one of the `agents` for each run.

    `has_ended` looks into the database, past every process.
    """

    http: httpx.AsyncClient
    gateway: str
    agents: Sequence[str]
    keys: Keys
    who: SignIn
    drawn: random.Random
    has_ended: Callable[[str], Awaitable[bool]]
    started: list[StartedRun] = field(default_factory=list)
    cuts: int = 0

    async def talk(self, stop: asyncio.Event) -> None:
        """Hold conversation after conversation until `stop` is set."""
        nth = 0
        while not stop.is_set():
            nth += 1
            thread = f"{self.who.user}-thread-{nth}"
            for turn in range(self.drawn.randint(1, 3)):
                await self._ask(thread, f"{thread}-{turn}")
                if stop.is_set():
                    return

    async def _ask(self, thread: str, name: str) -> None:
        """Start a run in one of several ways, and read it to its end."""
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

    def _new(self, thread: str, name: str) -> StartedRun:
        run = StartedRun(name, thread, self.drawn.choice(self.agents), f"task-{name}", View(name))
        self.started.append(run)
        return run

    async def _see(self, run: StartedRun, way: str) -> None:
        """Read a run to its end, leg after leg, whatever happens to the connection."""
        # A queued run waits for the first one, so it must not be admitted before it.
        if way == "queue" and run.client_run_id.endswith("-next"):
            await asyncio.sleep(0.3)
        is_known = way == "background"
        while run.view.ending is None:
            try:
                is_known = await self._leg(run, is_known)
            except (httpx.HTTPError, Cut):
                # Some stay away so long that another process has continued the run after their cursor.
                is_away = self.drawn.random() < 0.1
                await asyncio.sleep(self.drawn.uniform(0.5, 4.0) if is_away else _AGAIN)
                # A request that may have been accepted is repeated unchanged: its runId makes that safe.
                is_known = is_known or bool(run.view.cursor)

    async def _leg(self, run: StartedRun, is_known: bool) -> bool:
        if not is_known:
            run.view.reconnect("post")
            request = self._request("POST", run.agent, "/runs", self._body(run))
        elif run.view.cursor and self.drawn.random() < 0.8:
            run.view.reconnect(f"after {run.view.cursor}")
            path = f"/runs/{run.client_run_id}/events"
            request = self._request("GET", self._address(run), path, cursor=run.view.cursor)
        else:
            run.view.reconnect("connect")
            body = {"threadId": run.thread, "runId": run.client_run_id}
            request = self._request("POST", self._address(run), "/connect", body)
        response = await self.http.send(request, stream=True)
        try:
            if response.status_code == 404 and is_known:
                return False
            await self._read(run, response)
            return True
        finally:
            await response.aclose()

    async def _read(self, run: StartedRun, response: httpx.Response) -> None:
        if response.status_code != 200:
            await response.aread()
            if response.status_code not in _PASSING:
                run.trouble.append(f"refused with {response.status_code}: {response.text[:200]}")
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
                run.view.take(frame, cursor)
                cursor, count = None, count + 1
                await self._check_end(run)
                if patience is not None and count > patience and run.view.ending is None:
                    self.cuts += 1
                    raise Cut
        if run.view.ending is None:
            raise Cut

    async def _check_end(self, run: StartedRun) -> None:
        if run.view.ending is not None and not await self.has_ended(run.client_run_id):
            run.view.broken.append("an end that is not in the database")

    async def _cancel(self, run: StartedRun) -> None:
        await asyncio.sleep(self.drawn.uniform(0.1, 1.5))
        while run.view.ending is None:
            with suppress(httpx.HTTPError):
                # Set before the request: the cancel may work although its answer is lost.
                run.is_cancelled = True
                path = f"/runs/{run.client_run_id}/cancel"
                request = self._request("POST", self._address(run), path)
                response = await self.http.send(request)
                if response.status_code in (200, 202):
                    return
            await asyncio.sleep(0.2)

    async def _post_until_taken(self, run: StartedRun, **props: bool) -> None:
        while True:
            with suppress(httpx.HTTPError):
                body = self._body(run, **props)
                request = self._request("POST", run.agent, "/runs", body)
                response = await self.http.send(request)
                if response.status_code == 202:
                    return
            await asyncio.sleep(_AGAIN)

    def _address(self, run: StartedRun) -> str:
        """The agent to ask about a run: mostly its own, and sometimes any, because each shows all runs of a user."""
        return run.agent if self.drawn.random() < 0.7 else self.drawn.choice(self.agents)

    def _body(self, run: StartedRun, **props: bool) -> Json:
        message = {"id": f"message-of-{run.client_run_id}", "role": "user", "content": run.task}
        forwarded = {"resumable": True, "busyPolicy": "enqueue", **props}
        ids = {"threadId": run.thread, "runId": run.client_run_id}
        return {**ids, "messages": [message], "forwardedProps": forwarded}

    def _request(
        self, method: str, agent: str, path: str, body: Json | None = None, cursor: str = ""
    ) -> httpx.Request:
        signed = {"authorization": f"Bearer {self.who.token(self.keys.user)}"}
        if cursor:
            signed["last-event-id"] = cursor
        url = f"{self.gateway}/{agent}{path}"
        return self.http.build_request(method, url, json=body, headers=signed)
