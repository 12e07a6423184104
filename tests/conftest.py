"""Fixtures of all tests: a database for each, no network beyond this machine, and a check for blocking calls."""

import signal
import sys

from hypothesis import settings

pytest_plugins = [
    "tests.fixtures.database",
    "tests.fixtures.network",
    "tests.fixtures.blocking",
    "tests.fixtures.functions",
    "tests.fixtures.place",
    "tests.fixtures.stack",
    "tests.fixtures.given_server",
    "tests.fixtures.threads",
]

# The same examples in every run, or a change could fail on code that it did not touch. `make check-long` looks for new
# ones with `--hypothesis-profile=long`; what it finds is kept as an `@example`.
settings.register_profile("short", derandomize=True, database=None, deadline=None)
settings.register_profile("long", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile("short")


def pytest_configure() -> None:
    # A shell starts background processes with SIGINT ignored, and the children of a test inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Warnings of the garbage collector come at random times, also into the stderr that a test reads.
    sys.unraisablehook = lambda _: None
