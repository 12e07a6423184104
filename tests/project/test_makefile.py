"""The targets of the Makefile."""

import re
from pathlib import Path

MAKEFILE = (Path(__file__).parent.parent.parent / "Makefile").read_text()
TARGETS = re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE)


def test_a_file_with_the_name_of_a_target_does_not_hide_it() -> None:
    """A target that makes no file of its name must be phony: a folder `image` would make it up to date."""
    phony = re.findall(r"^\.PHONY: (.*)", MAKEFILE, re.MULTILINE)[0].split()
    assert sorted(phony) == sorted(TARGETS)
    assert "cluster-test" in phony


def test_help_lists_every_target() -> None:
    listed = re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE)
    assert sorted(listed) == sorted(TARGETS)
