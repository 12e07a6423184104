"""What all tests share: a database each, a machine without a network, and a loop that nothing blocks."""

pytest_plugins = [
    "tests.fixtures.database",
    "tests.fixtures.network",
    "tests.fixtures.blocking",
    "tests.fixtures.functions",
    "tests.fixtures.stack",
    "tests.fixtures.threads",
]
