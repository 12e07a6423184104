"""Markdown in a terminal: the same text in any pieces, whole words, and no style left over."""

import random
import re

import pytest

from local.terminal.markdown import MarkdownWriter

_STYLE = re.compile(r"\033\[\d*m")
_TEXT = """# A heading of words

Some **bold words** and `a piece of code` in a longer line of text that has to wrap somewhere.

```python
x = 1  # a line of code that is never wrapped, however long it is, because it is code
```
The end, **of it**."""


def shown(pieces: list[str], width: int = 40) -> str:
    writer = MarkdownWriter(width)
    return "".join([*map(writer.write, pieces), writer.end()])


def test_any_pieces_give_the_same_output() -> None:
    whole = shown([_TEXT])
    for seed in range(50):
        chosen = random.Random(seed)  # noqa: S311  # no secret
        cuts = sorted(chosen.sample(range(1, len(_TEXT)), 12))
        pieces = [_TEXT[i:j] for i, j in zip([0, *cuts], [*cuts, len(_TEXT)], strict=True)]
        assert shown(pieces) == whole


def test_only_marks_and_line_breaks_differ_from_the_text() -> None:
    plain = _STYLE.sub("", shown([_TEXT]))
    assert plain.split() == re.sub(r"\*\*|(?<!`)`(?!`)|^# ", "", _TEXT).split()


def test_no_line_but_code_is_longer_than_the_terminal() -> None:
    lines = _STYLE.sub("", shown([_TEXT])).splitlines()
    assert [line for line in lines if len(line.rstrip()) > 40] == [
        "x = 1  # a line of code that is never wrapped, however long it is, because it is code"
    ]


def test_words_are_shown_as_soon_as_they_end() -> None:
    writer = MarkdownWriter(80)
    assert writer.write("Hello, wor") == "Hello, "
    assert writer.write("ld. ") == "world. "


def test_a_text_without_spaces_is_shown_while_it_comes() -> None:
    writer = MarkdownWriter(30)
    text = "数据库是用来存储和管理数据的计算机系统" * 3
    pieces = [writer.write(letter) for letter in text]
    assert len("".join(pieces)) > len(text) - 21
    assert ("".join(pieces) + writer.end()).replace("\n", "") == text


@pytest.mark.parametrize("text", ["**never closed", "`never closed", "```\nnever closed", "# a"])
def test_a_style_ends_with_its_text(text: str) -> None:
    assert shown([text]).endswith("\033[0m")


def test_a_heading_right_after_a_block_is_one() -> None:
    assert shown(["```\nx\n```\n# a\n```\ny\n```"]).count("\033[1m") == 1


def test_bold_text_continues_behind_code() -> None:
    assert shown(["**a `b` c** d"], 80) == "\033[1ma \033[36mb\033[0m\033[1m c\033[0m d"
