"""A terminal: the agent's text on stdout, notes and errors on stderr."""

import json
import sys
from dataclasses import dataclass, field

from local.agent import Event


@dataclass
class Screen:
    """The output of a chat: text on stdout, all else on stderr; `as_json`: only events, one per line."""

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
        """Write a note for people: only on a terminal."""
        if self.is_terminal and not self.as_json:
            self.end_line()
            sys.stderr.write(f"\033[2m{line}\033[0m\n")

    def report(self, line: str) -> None:
        """Write a message that scripts show, too."""
        self.end_line()
        print(line, file=sys.stderr)

    def event(self, event: Event) -> None:
        if self.as_json:
            print(json.dumps(event), flush=True)

    def ask(self, prompt: str) -> str:
        """Read a line from the user. Raises EOFError for Ctrl-D, KeyboardInterrupt for Ctrl-C."""
        self.end_line()
        try:
            return input(prompt).strip()
        except (EOFError, KeyboardInterrupt):
            self.text("\n")
            raise
