"""A terminal that talks to the agent: streams, asks for approvals in place, and goes on after a cut."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from local import CannotStart
from local.agent import Agent, Event, Refused

_HELP: Final = "/threads lists, /resume N goes on with one, /new begins one, /quit leaves. Ctrl-C stops an answer."
_LONGEST: Final = 300
#: What a script goes by, beside 0 for an answer; 130 is a shell's own for an interrupted program.
FAILED, WAITS, CANCELLED = 1, 3, 130


@dataclass
class Screen:
    """Where it is written: text on stdout, all else on stderr; only events, one a line, where JSON was asked for."""

    as_json: bool = False
    is_terminal: bool = field(default_factory=lambda: sys.stdin.isatty() and sys.stdout.isatty())
    _is_open: bool = False

    def text(self, piece: str) -> None:
        if not self.as_json and piece:
            sys.stdout.write(piece)
            sys.stdout.flush()
            self._is_open = not piece.endswith("\n")

    def end_line(self) -> None:
        if self._is_open:
            self.text("\n")

    def note(self, line: str) -> None:
        """What is not the answer: for people only."""
        if self.is_terminal and not self.as_json:
            self.end_line()
            sys.stderr.write(f"\033[2m{line}\033[0m\n")

    def event(self, event: Event) -> None:
        if self.as_json:
            print(json.dumps(event), flush=True)

    def ask(self, prompt: str) -> str:
        self.end_line()
        return input(prompt).strip()


class Chat:
    """One thread at a time."""

    def __init__(self, agent: Agent, screen: Screen, thread_id: str = "") -> None:
        self._agent = agent
        self._screen = screen
        self._listed: list[Event] = []
        self._thread_id = thread_id or str(uuid4())

    def talk(self) -> int:
        """Read what the person says until they leave. Returns an exit code."""
        self._screen.note(_HELP)
        commands: dict[str, Callable[[str], None]] = {
            "/threads": self._list,
            "/resume": self._resume,
            "/new": self._begin,
            "/help": lambda _: self._screen.note(_HELP),
        }
        while True:
            try:
                said = self._screen.ask("> ")
            except (EOFError, KeyboardInterrupt):
                return 0
            command, _, rest = said.partition(" ")
            if command == "/quit":
                return 0
            try:
                if command in commands:
                    commands[command](rest.strip())
                elif said:
                    self.say(said)
            except CannotStart as error:
                self._screen.note(str(error))

    def say(self, text: str) -> int:
        """Send a message and write its answer, asking for approvals on the way. Returns an exit code."""
        message = {"id": str(uuid4()), "role": "user", "content": text}
        answer = Answer(self._agent, self._screen, self._thread_id)
        ending = answer.run([message])
        while questions := ending.get("outcome", {}).get("interrupts"):
            if not self._screen.is_terminal:
                return WAITS
            ending = answer.run([], resume=[self._decide(question) for question in questions])
        if ending["type"] == "RUN_ERROR":
            print(f"{ending.get('message')} ({ending.get('code')})", file=sys.stderr)
            return FAILED
        return CANCELLED if ending["outcome"]["type"] == "cancelled" else 0

    def _decide(self, question: Event) -> Event:
        told = {"interruptId": question["id"], "status": "resolved"}
        message = question.get("message") or question["reason"]
        if question["reason"] == "input_required":
            said = self._screen.ask(f"{message} (JSON, empty: no) ")
            return (
                {**told, "payload": json.loads(said)} if said else {**told, "status": "cancelled"}
            )
        may_edit = "arguments" in (question.get("responseSchema") or {}).get("properties", {})
        said = self._screen.ask(f"{message} [y/N{'/arguments as JSON' if may_edit else ''}] ")
        if may_edit and said.startswith("{"):
            return {**told, "payload": {"approved": True, "arguments": json.loads(said)}}
        return {**told, "payload": {"approved": said.lower() in ("y", "yes")}}

    def _list(self, _: str) -> None:
        self._listed = self._agent.ask("GET", "/threads/threads?limit=20")["data"]
        for nth, thread in enumerate(self._listed, 1):
            self._screen.note(f"{nth:>3}  {thread['updatedAt'][:16]}  {_name(thread)}")

    def _resume(self, which: str) -> None:
        if not which.isdecimal() or not 0 < int(which) <= len(self._listed):
            raise CannotStart("/threads lists them; /resume takes a number of that list.")
        thread = self._listed[int(which) - 1]
        self._thread_id = thread["threadId"]
        self._screen.note(f"Going on with {_name(thread)}.")

    def _begin(self, _: str) -> None:
        self._thread_id = str(uuid4())


def _name(thread: Event) -> str:
    return str(thread.get("title") or thread["threadId"])


class Answer:
    """The answer to one message, as it is written: one run, or more where the user was asked."""

    def __init__(self, agent: Agent, screen: Screen, thread_id: str) -> None:
        self._agent = agent
        self._screen = screen
        self._thread_id = thread_id
        self._calls: dict[str, list[str]] = {}
        self._written: dict[str, str] = {}

    def run(self, messages: list[Event], **more: object) -> Event:
        """Write one run; its last event. Ctrl-C cancels it, and it still ends as it does."""
        run_id = str(uuid4())
        body = {"threadId": self._thread_id, "runId": run_id, "messages": messages, **more}
        events = self._agent.run(body)
        try:
            return self._write(events)
        except KeyboardInterrupt:
            self._screen.note("Stopping.")
            self._cancel(run_id)
            return self._write(self._agent.follow(run_id))

    def _cancel(self, run_id: str) -> None:
        try:
            self._agent.cancel(run_id)
        except Refused as refused:
            if refused.status != 404:
                raise
            # It was never started.
            raise KeyboardInterrupt from None

    def _write(self, events: Iterator[Event]) -> Event:
        for event in events:
            self._screen.event(event)
            self._show(event)
        self._screen.end_line()
        return event

    def _show(self, event: Event) -> None:
        match event["type"]:
            case "TEXT_MESSAGE_CONTENT":
                name = event["messageId"]
                self._written[name] = self._written.get(name, "") + event["delta"]
                self._screen.text(event["delta"])
            case "TEXT_MESSAGE_END":
                self._screen.end_line()
            case "TOOL_CALL_START":
                self._calls[event["toolCallId"]] = [event["toolCallName"], " "]
            case "TOOL_CALL_ARGS":
                self._calls.setdefault(event["toolCallId"], []).append(event["delta"])
            case "TOOL_CALL_END":
                self._note("".join(self._calls.pop(event["toolCallId"], ())))
            case "TOOL_CALL_RESULT":
                self._note(f"= {event['content']}")
            case "MESSAGES_SNAPSHOT":
                self._catch_up(event["messages"])

    def _catch_up(self, messages: list[Event]) -> None:
        """Write what was said meanwhile: the rest of a message, or all of one that begins otherwise, or anew."""
        asked = max((nth for nth, m in enumerate(messages) if m["role"] == "user"), default=-1)
        for message in messages[asked + 1 :]:
            name, said = message["id"], message.get("content")
            if message["role"] != "assistant" or not isinstance(said, str):
                continue
            seen = self._written.get(name, "")
            if not seen or not said.startswith(seen):
                self._screen.end_line()
                seen = ""
            self._screen.text(said[len(seen) :])
            self._written[name] = said

    def _note(self, line: str) -> None:
        short = " ".join(line.split())
        self._screen.note(short if len(short) <= _LONGEST else f"{short[:_LONGEST]}…")
