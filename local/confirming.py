"""The question of a command that changes files."""

import sys


def is_confirmed(question: str) -> bool:
    """Whether the answer at the terminal is yes; if not, say that nothing has changed.

    Enter, Ctrl-C, the end of the input and a missing terminal are a no.
    """
    if not sys.stdin.isatty():
        sys.stderr.write("There is no terminal to confirm it; pass --yes. Nothing has changed.\n")
        return False
    try:
        is_yes = input(f"\n{question} [y/N] ").strip().lower() in ("y", "yes")
    except (KeyboardInterrupt, EOFError):
        sys.stderr.write("\n")
        is_yes = False
    if not is_yes:
        sys.stderr.write("Nothing has changed.\n")
    return is_yes
