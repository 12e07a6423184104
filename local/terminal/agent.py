"""A client of an agent, as in any app: it yields each event of a run once, across reconnections."""

import http.client
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic, sleep
from typing import Any, Final
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from local import CannotStart
from local.database import is_loopback
from local.gateway import PATH

Event = dict[str, Any]
#: The functions send a comment each 15 s.
_SILENCE_SECONDS: Final = 60.0
#: Connections in a row without an event, after which the chat gives up.
_MAX_FAILURES: Final = 10
#: The same before the first event: some eight seconds, in which a function starts. A broken one never does.
_MAX_FIRST_FAILURES: Final = 4
_LONGEST_WAIT_SECONDS: Final = 10.0
#: Statuses of the gateway for a function that starts, stops or is full. Other refusals are final.
_TRANSIENT: Final = (408, 502, 503, 504)
#: What it reads. A client that does not name it gets what clients before AG-UI 1.0 can read.
_VERSION: Final = {"protocolVersion": "1.0"}
#: Statuses that stand for a code, so no gateway gave them: its refusals are problems.
_FOREIGN: Final = ("404", "405")
_FORM: Final = f"it begins with https:// or http:// and ends with {PATH}"
ENDINGS: Final = ("RUN_FINISHED", "RUN_ERROR")


class Refused(CannotStart):
    """The gateway or the function refused a request. `code` is the problem's; `retry_after` is in seconds, if given."""

    def __init__(self, status: int, body: bytes, retry_after: str | None = None) -> None:
        problem = _problem(body)
        self.status = status
        self.code = str(problem.get("code") or status)
        has_seconds = retry_after is not None and retry_after.isdecimal()
        self.retry_after = int(retry_after or 0) if has_seconds else None
        # Supabase's own refusals have a message instead.
        detail = problem.get("detail") or problem.get("message") or "The request was refused."
        super().__init__(f"{detail} ({self.code})")

    @property
    def is_transient(self) -> bool:
        """Whether a retry within seconds may succeed."""
        if self.retry_after is None:
            return self.status in _TRANSIENT
        return self.retry_after <= _LONGEST_WAIT_SECONDS


class Lost(CannotStart):
    """The connection to a run could not be made again. The run may continue."""


class NoServer(CannotStart):
    """Nothing answers at the gateway's address."""


class Agent:
    """One agent and the other functions behind a gateway, with this user's token.

    `cursor` is the place after the last received event.
    """

    def __init__(
        self,
        gateway_url: str,
        name: str,
        token: Callable[[], str],
        reconnecting: Callable[[float], None] = lambda _: None,
    ) -> None:
        """`reconnecting` is called before each wait, with the seconds since the connection broke."""
        self.cursor = ""
        self.name = name
        self._address = _address(gateway_url)
        self._has_connected = False
        self._token = token
        self._reconnecting = reconnecting
        self._broken_at = 0.0

    def run(self, body: Event, agent: str = "") -> Iterator[Event]:
        """Start a run, or attach to it if its runId exists, and yield its events until it ends.

        `agent`: the one that executes it, if it is not this one.

        Raises:
            Refused: the run was not started, and a retry would not help.
            Lost: the connection broke ten times in a row.
            CannotStart: no gateway answers at the address.
        """
        self.cursor = ""
        path = f"/{agent}/runs" if agent else self._runs
        return self._events(body["runId"], {**body, **_VERSION}, path)

    def follow(self, run_id: str) -> Iterator[Event]:
        """A run's events after the cursor; raises as `run` does."""
        return self._events(run_id, None, self._runs)

    def connect(self, thread_id: str) -> Iterator[Event]:
        """A snapshot of a thread, and the events of its latest run until that ends; raises as `run` does."""
        self.cursor = ""
        return self._events("", {"threadId": thread_id, **_VERSION}, f"/{self.name}/connect")

    def cancel(self, run_id: str) -> None:
        """Cancel a run."""
        self.request("POST", f"{self._runs}/{quote(run_id, safe='')}/cancel")

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """The whole response as JSON; raises Refused."""
        with self._send(method, path, body) as response:
            return json.loads(response.read() or b"null")

    @property
    def _runs(self) -> str:
        return f"/{self.name}/runs"

    def _events(self, run_id: str, body: Event | None, path: str) -> Iterator[Event]:
        failures = 0
        while True:
            failure: Exception | None = None
            try:
                for self.cursor, event in self._stream(run_id, body, path):  # noqa: B020  # the place
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
        """Wait before the next connection, or raise if there were too many failures."""
        now = monotonic()
        if failures == 1:
            self._broken_at = now
        if isinstance(failure, Refused):
            self._raise_if_final(failure)
        seconds = now - self._broken_at
        if failures > (_MAX_FAILURES if self.cursor else _MAX_FIRST_FAILURES):
            raise self._giving_up(failure, seconds)
        self._reconnecting(seconds)
        requested = (failure.retry_after or 0) if isinstance(failure, Refused) else 0
        sleep(max(requested, min(0.25 * 2**failures, _LONGEST_WAIT_SECONDS)))

    def _raise_if_final(self, failure: Refused) -> None:
        if failure.code == "not_found":
            raise CannotStart(
                f"No agent {self.name} is served at {self._origin}."
                " If you have just made it, start `make dev` again."
            )
        if not failure.is_transient:
            raise failure

    def _giving_up(self, failure: Exception | None, seconds: float) -> CannotStart:
        is_local = is_loopback(self._address.hostname or "")
        is_refused = isinstance(failure, Refused)
        hint = (
            f" If {self.name} cannot start, the output of `make dev` says why."
            if is_local and is_refused
            else ""
        )
        if is_refused and not self.cursor:
            return CannotStart(f"{failure}{hint}")
        return Lost(
            f"There was no connection for {seconds:.0f} s, so this chat does not try again. The run may"
            f" still be in progress.{hint}"
        )

    def _stream(self, run_id: str, body: Event | None, path: str) -> Iterator[tuple[str, Event]]:
        if body is not None and not self.cursor:
            # A repeated runId is the same run, so the POST can be repeated until the first event has arrived.
            method, payload = "POST", body
        else:
            after = {"after": self.cursor} if self.cursor else {}
            query = urlencode({**_VERSION, **after})
            path = f"{self._runs}/{quote(run_id, safe='')}/events?{query}"
            method, payload = "GET", {}
        with self._send(method, path, payload or None) as response:
            cursor = self.cursor
            for line in response:
                name, _, value = line.decode().strip().partition(": ")
                if name == "id":
                    cursor = value
                elif name == "data":
                    yield cursor, json.loads(value)

    @property
    def _origin(self) -> str:
        return f"{self._address.scheme}://{self._address.netloc}"

    def _send(self, method: str, path: str, body: Any) -> http.client.HTTPResponse:
        is_safe = self._address.scheme == "https"
        kind = http.client.HTTPSConnection if is_safe else http.client.HTTPConnection
        connection = kind(self._address.netloc, timeout=_SILENCE_SECONDS)
        headers = {"Authorization": f"Bearer {self._token()}", "Content-Type": "application/json"}
        payload = None if body is None else json.dumps(body)
        try:
            connection.connect()
        except (ConnectionRefusedError, socket.gaierror) as error:
            if self._has_connected:
                raise
            # A server that was never there will not come back, as one that restarts does.
            raise NoServer(f"No server answers at {self._origin}: {error.strerror}.") from None
        except ssl.SSLError as error:
            if self._has_connected:
                raise
            raise NoServer(f"{self._origin} cannot be used: {_why_tls(error)}.") from None
        self._has_connected = True
        connection.request(method, self._address.path + path, payload, headers)
        response = connection.getresponse()
        if response.status >= 400:
            retry_after = response.headers.get("retry-after")
            refused = Refused(response.status, response.read(10_000), retry_after)
            if refused.code in _FOREIGN:
                raise CannotStart(f"There is no gateway at {self._address.geturl()}: {_FORM}.")
            raise refused
        return response


def _address(url: str) -> SplitResult:
    address = urlsplit(url.rstrip("/"))
    if address.scheme not in ("http", "https") or not address.hostname:
        raise CannotStart(f"{url!r} is no gateway's address: {_FORM}.")
    # The address of a project, or of `make dev`, as people copy it.
    is_start = f"{PATH}/".startswith(f"{address.path}/")
    return address._replace(path=PATH) if is_start else address


def _why_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({error.verify_message})"
    if error.reason == "WRONG_VERSION_NUMBER":
        return "it does not speak TLS, so write http://"
    return f"TLS failed ({error.reason or error})"


def _problem(body: bytes) -> Event:
    with suppress(ValueError):
        problem = json.loads(body)
        return problem if isinstance(problem, dict) else {}
    return {}
