"""A chat with an agent in a terminal: it streams, asks for approvals in place, and continues after a cut."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final
from urllib.parse import quote
from uuid import uuid4

from local import CannotStart
from local.terminal.agent import Agent, Event, Lost, Refused
from local.terminal.answer import Answer
from local.terminal.questions import LeftOpen, decide, message_of
from local.terminal.screen import Screen

_HELP: Final = (
    "/threads lists, /resume N continues one, /new starts one, /quit exits. Ctrl-C stops an answer.\n"
    "/resume alone shows this thread again, with its open questions."
)
_TITLE: Final = 60
#: Exit codes beside 0; 130 is the shell's code for an interrupted program.
FAILED, WAITS, CANCELLED = 1, 3, 130


class Chat:
    """One thread at a time; a new one unless an id is given."""

    def __init__(self, agent: Agent, screen: Screen, thread_id: str = "") -> None:
        self._agent = agent
        self._screen = screen
        self._listed_threads: list[Event] = []
        self._thread_id = thread_id or str(uuid4())
        self._is_new = not thread_id
        self._has_title = bool(thread_id)
        #: Whether the user types commands here.
        self._is_session = False

    def talk(self) -> int:
        """Read and execute lines until the user quits. Returns an exit code."""
        with suppress(ImportError):
            import readline  # noqa: F401  # gives `input` arrow keys and a history
        self._is_session = True
        self._screen.note(_HELP)
        if not self._is_new:
            self._do("/resume", "")
        while True:
            try:
                line = self._screen.ask("> ")
            except (EOFError, KeyboardInterrupt):
                return 0
            command, _, rest = line.partition(" ")
            if command == "/quit":
                return 0
            if line:
                self._do(command, rest.strip()) if line[0] == "/" else self._do("", line)

    def _do(self, command: str, rest: str) -> None:
        commands: dict[str, Callable[[str], object]] = {
            "": self.say,
            "/threads": self._list,
            "/resume": self._resume,
            "/new": self._start_thread,
            "/help": lambda _: self._screen.note(_HELP),
        }
        try:
            if command not in commands:
                raise CannotStart(f"There is no {command}; /help lists the commands.")
            commands[command](rest)
        except (CannotStart, OSError) as error:
            self._report(error)
        except KeyboardInterrupt:
            self._screen.note("Left the answer. A started run continues; /resume shows it.")

    def say(self, text: str) -> int:
        """Send a message and show its answer, with approvals in place. Returns an exit code."""
        try:
            return self._say(text)
        except Lost as lost:
            self._report(lost)
            return FAILED
        except Refused as refused:
            if refused.code != "interrupt_open":
                raise
            return self._show_question()

    def _say(self, text: str) -> int:
        message = {"id": str(uuid4()), "role": "user", "content": text}
        answer = Answer(self._agent, self._screen, self._thread_id)
        # From now on there may be a run, whether or not its events arrive.
        self._is_new = False
        ending = answer.run([message])
        if not self._has_title:
            self._name(text)
        self._has_title = True
        return self._settle(answer, ending)

    def _show_question(self) -> int:
        """Show the question that a message does not answer."""
        self._screen.report("This thread has an open question, so your message was not sent.")
        if not self._screen.is_terminal:
            self._screen.report(self._way_back("the question"))
            return WAITS
        return self._visit()

    def _settle(self, answer: Answer, ending: Event) -> int:
        """Ask the user the interrupts of a run, until a run ends without any. Returns an exit code."""
        while questions := (ending.get("outcome") or {}).get("interrupts"):
            if not self._screen.is_terminal:
                for question in questions:
                    self._screen.report(message_of(question))
                return self._leave_open()
            try:
                resume = [decide(question, self._screen) for question in questions]
            except LeftOpen:
                return self._leave_open()
            # The thread may wait for an answer to another agent.
            agent = (questions[0].get("metadata") or {}).get("agent", "")
            ending = answer.run([], agent, resume=resume)
        if ending["type"] == "RUN_ERROR":
            self._screen.report(f"{ending.get('message')} ({ending.get('code')})")
            return FAILED
        if reason := (ending.get("metadata") or {}).get("incompleteReason"):
            self._screen.note(f"It ended early: {reason}.")
        if ending["outcome"]["type"] != "cancelled":
            return 0
        self._screen.note("Stopped.")
        return CANCELLED

    def _leave_open(self) -> int:
        self._screen.report(f"The question stays open. {self._way_back('it again')}")
        return WAITS

    def _way_back(self, what: str) -> str:
        """How the user gets back to this thread."""
        command = f"`python -m local chat --agent {self._agent.name} --thread {self._thread_id}`"
        return (
            f"/resume shows {what}, and so does {command}."
            if self._is_session
            else f"{command} shows {what}."
        )

    def _report(self, error: Exception) -> None:
        way = f" {self._way_back('the answer')}" if isinstance(error, Lost) else ""
        self._screen.report(f"{error}{way}")

    def _name(self, text: str) -> None:
        # The title is the first message. If this fails, the list shows the id.
        title = " ".join(text.split())[:_TITLE]
        with suppress(CannotStart, OSError):
            self._agent.request("PATCH", self._path, {"title": title})

    @property
    def _path(self) -> str:
        return f"/threads/threads/{quote(self._thread_id, safe='')}"

    def _list(self, _: str) -> None:
        self._listed_threads = self._agent.request("GET", "/threads/threads?limit=20")["data"]
        if not self._listed_threads:
            self._screen.note("You have no threads yet.")
        for nth, thread in enumerate(self._listed_threads, 1):
            when = datetime.fromisoformat(thread["updatedAt"]).astimezone()
            status = "" if thread["status"] == "idle" else f"  ({thread['status']})"
            self._screen.note(f"{nth:>3}  {when:%Y-%m-%d %H:%M}  {_name(thread)}{status}")

    def _resume(self, number: str) -> None:
        """Show a thread: its last exchange, the text being written, and its open questions."""
        if number:
            if not number.isdecimal() or not 0 < int(number) <= len(self._listed_threads):
                raise CannotStart("/resume takes a number of the list that /threads shows.")
            thread = self._listed_threads[int(number) - 1]
            self._thread_id = thread["threadId"]
            self._is_new, self._has_title = False, True
            self._screen.note(f"Continuing: {_name(thread)}")
        if self._is_new:
            raise CannotStart("This thread is new; /threads lists the others.")
        self._visit()

    def _visit(self) -> int:
        answer = Answer(self._agent, self._screen, self._thread_id)
        try:
            ending = answer.visit()
        except Refused as refused:
            if refused.code != "run_not_found":
                raise
            self._screen.note("This thread has no messages yet.")
            return 0
        return self._settle(answer, ending)

    def _start_thread(self, _: str) -> None:
        self._thread_id = str(uuid4())
        self._is_new, self._has_title = True, False
        self._screen.note("A new thread.")


def _name(thread: Event) -> str:
    return str(thread.get("title") or thread["threadId"])
