"""A terminal: the agent's text on stdout, notes and errors on stderr."""

import json
import shutil
import sys
from dataclasses import dataclass, field
from typing import Final

from local.printing import printable
from local.terminal.agent import Event
from local.terminal.markdown import MarkdownWriter
from local.terminal.spinner import Spinner

_PATIENCE_SECONDS: Final = 5.0


@dataclass
class Screen:
    """The output of a chat: text on stdout, all else on stderr; `as_json`: only events, one per line.

    A terminal shows Markdown, wraps whole words, and counts the seconds while nothing comes.
    """

    as_json: bool = False
    is_terminal: bool = field(default_factory=lambda: sys.stdin.isatty() and sys.stdout.isatty())
    _is_open: bool = False

    def __post_init__(self) -> None:
        is_shown = self.is_terminal and not self.as_json
        self._spinner = Spinner(is_shown)
        columns = shutil.get_terminal_size().columns
        self._markdown = MarkdownWriter(columns) if is_shown else None

    def text(self, piece: str) -> None:
        """Write a piece of an answer."""
        if not self.as_json and piece:
            self.stop_waiting()
            self._is_open = not piece.endswith("\n")
            self._write(self._markdown.write(piece) if self._markdown else piece)

    def end_line(self) -> None:
        """End the answer's last line."""
        self.stop_waiting()
        held = self._markdown.end() if self._markdown else ""
        self._write(held + "\n" if self._is_open else held)
        self._is_open = False

    def start_waiting(self) -> None:
        """Count the seconds until something is written."""
        self._spinner.start()

    def stop_waiting(self) -> None:
        self._spinner.stop()

    def reconnecting(self, seconds: float) -> None:
        """Show that there has been no connection for so long: on a terminal until something is written, else a line."""
        if not self._spinner.is_shown:
            # Not `report`: the answer continues on its line. A short break needs no word.
            if seconds >= _PATIENCE_SECONDS:
                print(f"Reconnecting for {seconds:.0f} s.", file=sys.stderr)
            return
        if not seconds:
            self.note("The connection broke.")
        self._spinner.start("reconnecting")

    def _write(self, text: str) -> None:
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()

    def note(self, line: str) -> None:
        """Write a note for people: only on a terminal."""
        if self.is_terminal and not self.as_json:
            self.end_line()
            sys.stderr.write(f"\033[2m{printable(line)}\033[0m\n")

    def report(self, line: str) -> None:
        """Write a message that scripts show, too."""
        self.end_line()
        print(printable(line), file=sys.stderr)

    def event(self, event: Event) -> None:
        if self.as_json:
            print(json.dumps(event), flush=True)

    def ask(self, prompt: str) -> str:
        """Read a line from the user. Raises EOFError for Ctrl-D, KeyboardInterrupt for Ctrl-C."""
        self.end_line()
        try:
            return input(printable(prompt)).strip()
        except (EOFError, KeyboardInterrupt):
            self._write("\n")
            raise
