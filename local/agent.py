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
#: A function that starts, stops or is full, as the gateway tells it: what else is refused stays refused.
_PASSES: Final = (408, 502, 503, 504)
ENDINGS: Final = ("RUN_FINISHED", "RUN_ERROR")


class Refused(CannotStart):
    """The gateway or the function said no: `code` is the problem's, `retry_after` in seconds where it has one."""

    def __init__(self, status: int, body: bytes, retry_after: str | None = None) -> None:
        try:
            problem = json.loads(body)
        except ValueError:
            problem = {}
        self.status = status
        self.code = str(problem.get("code") or status)
        is_told = retry_after is not None and retry_after.isdecimal()
        self.retry_after = int(retry_after or 0) if is_told else None
        super().__init__(f"{problem.get('detail') or 'The request was refused.'} ({self.code})")

    @property
    def passes(self) -> bool:
        """Whether the same request may work in a moment, and not only tomorrow."""
        if self.retry_after is None:
            return self.status in _PASSES
        return self.retry_after <= _LONGEST_WAIT_SECONDS


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
            Refused: it is not started, and a moment's wait would not change that.
            CannotStart: the connection broke, ten times on end.
        """
        self.cursor = ""
        return self._events(body["runId"], body)

    def follow(self, run_id: str) -> Iterator[Event]:
        """A run's events behind the cursor; raises as `run` does."""
        return self._events(run_id, None)

    def connect(self, thread_id: str) -> Iterator[Event]:
        """A thread as it stands at its latest run, and what comes until that ends; raises as `run` does."""
        self.cursor = ""
        return self._events("", {"threadId": thread_id}, "/agent/connect")

    def cancel(self, run_id: str) -> None:
        """Ask for the end of a run."""
        self.ask("POST", f"/agent/runs/{quote(run_id, safe='')}/cancel")

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One whole answer, as JSON; raises Refused."""
        with self._send(method, path, body) as response:
            return json.loads(response.read() or b"null")

    def _events(
        self, run_id: str, body: Event | None, path: str = "/agent/runs"
    ) -> Iterator[Event]:
        failures = 0
        while True:
            failure: Exception | None = None
            try:
                for self.cursor, event in self._stream(run_id, body, path):  # noqa: B020  # where it is
                    failures = 0
                    run_id = event.get("runId", run_id)
                    yield event
                    if event["type"] in ENDINGS:
                        return
            except (Refused, OSError, http.client.HTTPException) as error:
                failure = error
            failures += 1
            self._pause(failures, failure)

    def _pause(self, failures: int, failure: Exception | None) -> None:
        """Wait before the next try, where there is to be one."""
        asked = 0
        if isinstance(failure, Refused):
            if not failure.passes or failures > _TRIES:
                raise failure
            asked = failure.retry_after or 0
        if failures > _TRIES:
            raise CannotStart("The connection broke, again and again; the run may go on.")
        if failures == 1:
            self._reconnecting()
        sleep(max(asked, min(0.25 * 2**failures, _LONGEST_WAIT_SECONDS)))

    def _stream(self, run_id: str, body: Event | None, path: str) -> Iterator[tuple[str, Event]]:
        if body is not None and not self.cursor:
            # The same runId is the same run, so it may be posted until its first event is here.
            method, sent = "POST", body
        else:
            after = f"?after={self.cursor}" if self.cursor else ""
            path = f"/agent/runs/{quote(run_id, safe='')}/events{after}"
            method, sent = "GET", {}
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
            retry_after = response.headers.get("retry-after")
            raise Refused(response.status, response.read(10_000), retry_after)
        return response
