"""A terminal that talks to the agent: streams, asks for approvals in place, and goes on after a cut."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final
from urllib.parse import quote
from uuid import uuid4

from local import CannotStart
from local.agent import Agent, Event, Refused
from local.answer import Answer
from local.questions import LeftOpen, decide
from local.screen import Screen

_HELP: Final = (
    "/threads lists, /resume N goes on with one, /new begins one, /quit leaves. Ctrl-C stops an answer.\n"
    "/resume alone shows this thread again, and asks what it left open."
)
_TITLE: Final = 60
#: What a script goes by, beside 0 for an answer; 130 is a shell's own for an interrupted program.
FAILED, WAITS, CANCELLED = 1, 3, 130


class Chat:
    """One thread at a time; a new one, unless one is given."""

    def __init__(self, agent: Agent, screen: Screen, thread_id: str = "") -> None:
        self._agent = agent
        self._screen = screen
        self._listed: list[Event] = []
        self._thread_id = thread_id or str(uuid4())
        self._is_new = not thread_id

    def talk(self) -> int:
        """Read what the person says until they leave. Returns an exit code."""
        with suppress(ImportError):
            import readline  # noqa: F401  # gives `input` arrow keys and a history
        self._screen.note(_HELP)
        if not self._is_new:
            self._do("/resume", "")
        while True:
            try:
                said = self._screen.ask("> ")
            except (EOFError, KeyboardInterrupt):
                return 0
            command, _, rest = said.partition(" ")
            if command == "/quit":
                return 0
            if said:
                self._do(command, rest.strip()) if said[0] == "/" else self._do("", said)

    def _do(self, command: str, rest: str) -> None:
        commands: dict[str, Callable[[str], object]] = {
            "": self.say,
            "/threads": self._list,
            "/resume": self._resume,
            "/new": self._begin,
            "/help": lambda _: self._screen.note(_HELP),
        }
        try:
            if command not in commands:
                raise CannotStart(f"There is no {command}; /help says what there is.")
            commands[command](rest)
        except (CannotStart, OSError) as error:
            self._screen.tell(str(error))
        except KeyboardInterrupt:
            self._screen.note("Left it; what had begun goes on. /resume shows it.")

    def say(self, text: str) -> int:
        """Send a message and write its answer, asking for approvals on the way. Returns an exit code."""
        message = {"id": str(uuid4()), "role": "user", "content": text}
        answer = Answer(self._agent, self._screen, self._thread_id)
        ending = answer.run([message])
        if self._is_new and self._screen.is_terminal:
            self._name(text)
        self._is_new = False
        return self._settle(answer, ending)

    def _settle(self, answer: Answer, ending: Event) -> int:
        """Ask what a run asks, until one ends without a question. Returns an exit code."""
        while questions := (ending.get("outcome") or {}).get("interrupts"):
            if not self._screen.is_terminal:
                return self._leave_open()
            try:
                resume = [decide(question, self._screen) for question in questions]
            except LeftOpen:
                return self._leave_open()
            ending = answer.run([], resume=resume)
        if ending["type"] == "RUN_ERROR":
            self._screen.tell(f"{ending.get('message')} ({ending.get('code')})")
            return FAILED
        if reason := (ending.get("metadata") or {}).get("incompleteReason"):
            self._screen.note(f"It ended early: {reason}.")
        if ending["outcome"]["type"] != "cancelled":
            return 0
        self._screen.note("Stopped.")
        return CANCELLED

    def _leave_open(self) -> int:
        self._screen.tell(
            "The question stays open. /resume asks it again, and so does, later, "
            f"`python -m local chat --thread {self._thread_id}`."
        )
        return WAITS

    def _name(self, text: str) -> None:
        # A thread is listed by what it began with, and by its id where that does not work.
        title = " ".join(text.split())[:_TITLE]
        with suppress(CannotStart, OSError):
            self._agent.ask("PATCH", self._path, {"title": title})

    @property
    def _path(self) -> str:
        return f"/threads/threads/{quote(self._thread_id, safe='')}"

    def _list(self, _: str) -> None:
        self._listed = self._agent.ask("GET", "/threads/threads?limit=20")["data"]
        if not self._listed:
            self._screen.note("You have no threads yet.")
        for nth, thread in enumerate(self._listed, 1):
            when = datetime.fromisoformat(thread["updatedAt"]).astimezone()
            status = "" if thread["status"] == "idle" else f"  ({thread['status']})"
            self._screen.note(f"{nth:>3}  {when:%Y-%m-%d %H:%M}  {_name(thread)}{status}")

    def _resume(self, which: str) -> None:
        """Show how a thread stands: its last exchange, what is still being written, what is asked."""
        if which:
            if not which.isdecimal() or not 0 < int(which) <= len(self._listed):
                raise CannotStart("/threads lists them; /resume takes a number of that list.")
            thread = self._listed[int(which) - 1]
            self._thread_id = thread["threadId"]
            self._is_new = False
            self._screen.note(f"Going on with: {_name(thread)}")
        if self._is_new:
            raise CannotStart("This thread is new; /threads lists those there are.")
        answer = Answer(self._agent, self._screen, self._thread_id)
        try:
            ending = answer.visit()
        except Refused as refused:
            if refused.code != "run_not_found":
                raise
            self._screen.note("Nothing was said in it yet.")
        else:
            self._settle(answer, ending)

    def _begin(self, _: str) -> None:
        self._thread_id = str(uuid4())
        self._is_new = True
        self._screen.note("A new thread.")


def _name(thread: Event) -> str:
    return str(thread.get("title") or thread["threadId"])
