"""`python -m local.scaffold`: write the files that are generated from the list of functions."""

import sys

from functions.registry import InvalidFunctions, listed_functions
from local.environment import ROOT
from local.scaffold.generated import generated_texts


def main() -> int:
    """Write each file that differs, and print its path. Returns an exit code."""
    try:
        texts = generated_texts(ROOT, listed_functions())
    except InvalidFunctions as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for path, text in texts.items():
        if not (ROOT / path).exists() or (ROOT / path).read_text() != text:
            (ROOT / path).write_text(text)
            sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
