"""Sends one message through the whole stack, as any client does, and counts the events of the run."""

from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Any
from uuid import uuid4

from local import CannotStart
from local.terminal import Agent

MESSAGE = "What can you do? Answer in two sentences."


class Transcript:
    """The events of one run, counted and timed as they arrive."""

    def __init__(self) -> None:
        self._started_at = monotonic()
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
        return max(1, round((monotonic() - self._started_at) * 1000))


def run(agent: Agent, write: Callable[[str], None]) -> Transcript:
    """Run an agent on one message, and write its text as it streams.

    Raises:
        CannotStart: the run was refused, failed, or broke off.
    """
    transcript = Transcript()
    try:
        for event in agent.run(_input()):
            transcript.add(event["type"])
            if event["type"] == "TEXT_MESSAGE_CONTENT":
                write(event["delta"])
            if event["type"] == "RUN_ERROR":
                raise CannotStart(f"The run failed: {event.get('message')} ({event.get('code')}).")
    except (OSError, ValueError) as error:
        raise CannotStart(f"The stream broke off: {error!r}.") from None
    if not transcript.finished_ms:
        raise CannotStart("The stream ended without RUN_FINISHED.")
    return transcript


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
