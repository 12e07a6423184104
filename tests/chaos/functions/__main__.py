"""`python -m tests.chaos.functions NAME`: serve a function as `python -m functions NAME` does."""

import sys
from pathlib import Path

import functions
from functions.__main__ import main

if __name__ == "__main__":
    # `functions.trips` is the package beside this file from here on, also for a runner that loads it.
    functions.__path__.insert(0, str(Path(__file__).parent))
    sys.exit(main(sys.argv[1:]))
