"""A client of the agent, as any app has one: a run's events come once each, whatever becomes of the connection."""

import http.client
import json
from collections.abc import Callable, Iterator
from time import sleep
from typing import Any, Final
from urllib.parse import quote, urlsplit

from local import CannotStart

Event = dict[str, Any]
#: The functions send a comment each 15 s.
_SILENCE_SECONDS: Final = 60.0
_TRIES: Final = 10
_LONGEST_WAIT_SECONDS: Final = 10.0
_PASSES: Final = (429, 503)
ENDINGS: Final = ("RUN_FINISHED", "RUN_ERROR")


class Refused(CannotStart):
    """The gateway or the function said no: `code` is the problem's."""

    def __init__(self, status: int, body: bytes) -> None:
        try:
            problem = json.loads(body)
        except ValueError:
            problem = {}
        self.status = status
        self.code = str(problem.get("code") or status)
        super().__init__(f"{problem.get('detail') or 'The request was refused.'} ({self.code})")


class Agent:
    """The functions behind a gateway, for whoever has this token. `cursor` is behind the last event that came."""

    def __init__(
        self,
        gateway_url: str,
        token: Callable[[], str],
        reconnecting: Callable[[], None] = lambda: None,
    ) -> None:
        self.cursor = ""
        self._address = urlsplit(gateway_url.rstrip("/"))
        self._token = token
        self._reconnecting = reconnecting

    def run(self, body: Event) -> Iterator[Event]:
        """Start a run, or attach to it if its runId is known: its events until it ends.

        Raises:
            Refused: it is not started.
            CannotStart: the connection broke, ten times on end.
        """
        self.cursor = ""
        return self._events(body["runId"], body)

    def follow(self, run_id: str) -> Iterator[Event]:
        """A run's events behind the cursor; raises as `run` does."""
        return self._events(run_id, None)

    def cancel(self, run_id: str) -> None:
        """Ask for the end of a run."""
        self.ask("POST", f"/agent/runs/{quote(run_id, safe='')}/cancel")

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One whole answer, as JSON; raises Refused."""
        with self._send(method, path, body) as response:
            return json.loads(response.read() or b"null")

    def _events(self, run_id: str, body: Event | None) -> Iterator[Event]:
        failures = 0
        while True:
            try:
                for self.cursor, event in self._stream(run_id, body):  # noqa: B020  # where it is
                    failures = 0
                    yield event
                    if event["type"] in ENDINGS:
                        return
            except Refused as refused:
                if refused.status not in _PASSES:
                    raise
            except (OSError, http.client.HTTPException):
                pass
            failures += 1
            if failures > _TRIES:
                raise CannotStart("The connection broke, again and again; the run may go on.")
            self._reconnecting()
            sleep(min(0.25 * 2**failures, _LONGEST_WAIT_SECONDS))

    def _stream(self, run_id: str, body: Event | None) -> Iterator[tuple[str, Event]]:
        if body is not None and not self.cursor:
            # The same runId is the same run, so it may be posted until its first event is here.
            method, path, sent = "POST", "/agent/runs", body
        else:
            after = f"?after={self.cursor}" if self.cursor else ""
            method, path, sent = "GET", f"/agent/runs/{quote(run_id, safe='')}/events{after}", {}
        with self._send(method, path, sent or None) as response:
            cursor = self.cursor
            for line in response:
                name, _, value = line.decode().strip().partition(": ")
                if name == "id":
                    cursor = value
                elif name == "data":
                    yield cursor, json.loads(value)

    def _send(self, method: str, path: str, body: Any) -> http.client.HTTPResponse:
        is_safe = self._address.scheme == "https"
        kind = http.client.HTTPSConnection if is_safe else http.client.HTTPConnection
        connection = kind(self._address.netloc, timeout=_SILENCE_SECONDS)
        headers = {"Authorization": f"Bearer {self._token()}", "Content-Type": "application/json"}
        sent = None if body is None else json.dumps(body)
        connection.request(method, self._address.path + path, sent, headers)
        response = connection.getresponse()
        if response.status >= 400:
            raise Refused(response.status, response.read(10_000))
        return response
