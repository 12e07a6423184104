"""What all tests share: a database each, and a machine without a network."""

pytest_plugins = ["tests.fixtures.database", "tests.fixtures.network", "tests.fixtures.functions"]
