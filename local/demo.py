"""One message through the whole stack, as any client would send it, and what came back."""

import http.client
import json
from collections import Counter
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from local import CannotStart

MESSAGE = "What is a database? Answer in two sentences."
#: The functions send a comment each 15 s.
_SILENCE_SECONDS = 60.0


class Transcript:
    """The events of one run, counted and timed as they come."""

    def __init__(self) -> None:
        self._began = monotonic()
        self.counts: Counter[str] = Counter()
        self.first_text_ms = 0
        self.finished_ms = 0

    def add(self, kind: str) -> None:
        self.counts[kind] += 1
        if kind == "TEXT_MESSAGE_CONTENT":
            self.first_text_ms = self.first_text_ms or self._elapsed_ms()
        if kind == "RUN_FINISHED":
            self.finished_ms = self._elapsed_ms()

    def summary(self) -> str:
        texts = self.counts["TEXT_MESSAGE_CONTENT"]
        return (
            f"RUN_FINISHED in {self.finished_ms} ms, {texts} text events,"
            f" first token {self.first_text_ms} ms"
        )

    def _elapsed_ms(self) -> int:
        return max(1, round((monotonic() - self._began) * 1000))


def ask(gateway_url: str, token: str, write: Callable[[str], None]) -> Transcript:
    """Run the agent on one message, writing its text as it streams.

    Raises:
        CannotStart: the run was refused, failed, or broke off.
    """
    transcript = Transcript()
    try:
        for event in _events(gateway_url, token):
            transcript.add(event["type"])
            if event["type"] == "TEXT_MESSAGE_CONTENT":
                write(event["delta"])
            if event["type"] == "RUN_ERROR":
                raise CannotStart(f"The run failed: {event.get('message')} ({event.get('code')}).")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise CannotStart(f"The stream broke off: {error!r}.") from None
    if not transcript.finished_ms:
        raise CannotStart("The stream ended without RUN_FINISHED.")
    return transcript


def _events(gateway_url: str, token: str) -> Iterator[dict[str, Any]]:
    address = urlsplit(f"{gateway_url}/agent/runs")
    connection = http.client.HTTPConnection(address.netloc, timeout=_SILENCE_SECONDS)
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
    }
    connection.request("POST", address.path, json.dumps(_input()), headers)
    response = connection.getresponse()
    if response.status != 200:
        said = response.read(2000).decode(errors="replace")
        raise CannotStart(f"The run was refused with {response.status}: {said}")
    for line in response:
        if line.startswith(b"data:"):
            yield json.loads(line[5:])


def _input() -> dict[str, Any]:
    return {
        "threadId": str(uuid4()),
        "runId": str(uuid4()),
        "messages": [{"id": str(uuid4()), "role": "user", "content": MESSAGE}],
        "tools": [],
        "context": [],
        "state": {},
        "forwardedProps": {},
    }
