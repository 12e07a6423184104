"""A copy of the repository for each test."""

from pathlib import Path

import pytest

from tests.fixtures.checkout import copy_repository
from tests.fixtures.scaffolding import change_list, used


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of every file of the repository."""
    copy_repository(tmp_path)
    # Room for two agents, whatever this checkout has.
    change_list(tmp_path, lambda content: content.update(database_clients=used(tmp_path) + 80))
    return tmp_path
