"""A terminal's two ways out: what is said on stdout, what is about it on stderr."""

import json
import sys
from dataclasses import dataclass, field

from local.agent import Event


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

    def tell(self, line: str) -> None:
        """What a script's owner must know, too."""
        self.end_line()
        print(line, file=sys.stderr)

    def event(self, event: Event) -> None:
        if self.as_json:
            print(json.dumps(event), flush=True)

    def ask(self, prompt: str) -> str:
        """What the person types; Ctrl-D and Ctrl-C are raised, on a line of their own."""
        self.end_line()
        try:
            return input(prompt).strip()
        except (EOFError, KeyboardInterrupt):
            self.text("\n")
            raise
