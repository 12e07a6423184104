"""What all tests share: a database each, a machine without a network, and a loop that nothing blocks."""

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
    # What is told when something is collected comes at random, also into what a test reads of stderr.
    sys.unraisablehook = lambda _: None
