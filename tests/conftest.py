"""What all tests share: a database each, a machine without a network, and a loop that nothing blocks."""

import signal
import sys

pytest_plugins = [
    "tests.fixtures.database",
    "tests.fixtures.network",
    "tests.fixtures.blocking",
    "tests.fixtures.functions",
    "tests.fixtures.stack",
    "tests.fixtures.threads",
]


def pytest_configure() -> None:
    # A shell starts what runs in the background deaf to Ctrl-C, and the children of a test inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # What is told when something is collected comes at random, also into what a test reads of stderr.
    sys.unraisablehook = lambda _: None
