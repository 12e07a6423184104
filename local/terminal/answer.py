"""Shows the answer to one message in a terminal."""

from collections.abc import Iterator
from typing import Final
from uuid import uuid4

from local.terminal.agent import Agent, Event, Lost, Refused
from local.terminal.screen import Screen

_LONGEST: Final = 300
_NOT_STOPPED: Final = "There is no connection, so the run was not stopped."


class Answer:
    """The answer to one message, shown as it is written: one run, or several with interrupts between them."""

    def __init__(self, agent: Agent, screen: Screen, thread_id: str) -> None:
        self._agent = agent
        self._screen = screen
        self._thread_id = thread_id
        self._run_id = ""
        self._is_visit = False
        self._calls: dict[str, list[str]] = {}
        self._texts: dict[str, str] = {}

    def run(self, messages: list[Event], agent: str = "", **more: object) -> Event:
        """Show one run, of another agent if one is named; returns its ending. Ctrl-C cancels the run, which then ends
        as any other."""
        self._run_id = str(uuid4())
        self._is_visit = False
        body = {"threadId": self._thread_id, "runId": self._run_id, "messages": messages, **more}
        return self._write_or_stop(self._agent.run(body, agent))

    def visit(self) -> Event:
        """Show the thread's last exchange, and new events until its latest run ends; returns the ending."""
        self._is_visit = True
        return self._write_or_stop(self._agent.connect(self._thread_id))

    def _write_or_stop(self, events: Iterator[Event]) -> Event:
        try:
            return self._write(events)
        except KeyboardInterrupt:
            if not self._run_id:
                raise
            self._screen.note("Stopping.")
            self._cancel()
            return self._write(self._agent.follow(self._run_id))

    def _cancel(self) -> None:
        try:
            self._agent.cancel(self._run_id)
        except Refused as refused:
            if refused.status == 404:
                # The run was never started.
                raise KeyboardInterrupt from None
            if not refused.is_transient:
                raise
            raise Lost(_NOT_STOPPED) from None
        except OSError:
            raise Lost(_NOT_STOPPED) from None

    def _write(self, events: Iterator[Event]) -> Event:
        self._screen.start_waiting()
        try:
            for event in events:
                self._screen.event(event)
                self._show(event)
                self._screen.start_waiting()
        finally:
            self._screen.end_line()
        return event

    def _show(self, event: Event) -> None:
        match event["type"]:
            case "RUN_STARTED":
                self._run_id = event["runId"]
            case "TEXT_MESSAGE_CONTENT":
                name = event["messageId"]
                self._texts[name] = self._texts.get(name, "") + event["delta"]
                self._screen.text(event["delta"])
            case "TEXT_MESSAGE_END":
                self._screen.end_line()
            case "TOOL_CALL_START":
                self._calls[event["toolCallId"]] = [event["toolCallName"], " "]
            case "TOOL_CALL_ARGS":
                self._calls.setdefault(event["toolCallId"], []).append(event["delta"])
            case "TOOL_CALL_END":
                self._note("".join(self._calls.pop(event["toolCallId"], ())))
            case "ACTIVITY_SNAPSHOT":
                self._note(_activity(event["activityType"], event["content"]))
            case "TOOL_CALL_RESULT":
                self._note(f"= {event['content']}")
            case "MESSAGES_SNAPSHOT":
                self._catch_up(event["messages"])

    def _catch_up(self, messages: list[Event]) -> None:
        """Show what a snapshot adds: the rest of a message, or all of a new or a changed one."""
        last_user = max((nth for nth, m in enumerate(messages) if m["role"] == "user"), default=-1)
        if self._is_visit and last_user >= 0:
            self._note(f"> {messages[last_user]['content']}")
        for message in messages[last_user + 1 :]:
            if self._is_visit:
                for call in message.get("toolCalls") or ():
                    self._note("{name} {arguments}".format(**call["function"]))
            if message["role"] == "assistant" and isinstance(message.get("content"), str):
                self._complete(message["id"], message["content"])
        self._is_visit = False

    def _complete(self, name: str, text: str) -> None:
        shown_text = self._texts.get(name, "")
        if not shown_text or not text.startswith(shown_text):
            if shown_text:
                self._screen.note("Another process took over; it repeats this text.")
            self._screen.end_line()
            shown_text = ""
        self._screen.text(text[len(shown_text) :])
        self._texts[name] = text

    def _note(self, line: str) -> None:
        text = " ".join(line.split())
        self._screen.note(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def _activity(kind: str, content: Event) -> str:
    """A line for a tool's progress, or for a summary."""
    if kind != "tool_progress":
        return f"({kind}) {content.get('text', '')}"
    total = f"/{content['total']:g}" if "total" in content else ""
    return f"… {content['done']:g}{total} {content.get('message', '')}"
