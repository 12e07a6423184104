"""The pages: their links lead somewhere, and the list for language models has them all."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *ROOT.glob("*.md"), DOCS / "llms.txt"])
LIST = (DOCS / "llms.txt").read_text()
_LINK = re.compile(r"(?<!`)\[[^\]]+\]\(([^)\s]+)\)")


def anchor(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {anchor(text) for text in re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text()):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not heading or heading in anchors(target), link


def test_the_list_for_language_models_has_every_page() -> None:
    listed = {(DOCS / link).resolve() for link in _LINK.findall(LIST)}
    assert {*DOCS.glob("*.md")} <= listed


def test_the_list_for_language_models_has_its_form() -> None:
    """A title, a quoted summary, text, and sections of links with notes: https://llmstxt.org."""
    title, quote, *_ = LIST.split("\n\n")
    assert title.startswith("# ")
    assert all(line.startswith("> ") for line in quote.splitlines())
    sections = LIST.partition("\n## ")[2]
    for line in sections.splitlines()[1:]:
        assert not line or line.startswith("## ") or re.match(r"- \[[^\]]+\]\([^)]+\): \w", line)
