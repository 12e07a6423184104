"""Markdown in a terminal, while it streams: whole words wrap, and marks become bold or coloured text.

Of CommonMark, it shows what models write most: headings, bold text, code, fenced blocks. All else stays as it is.
"""

import re
from typing import Final

_BOLD, _CODE, _FENCED, _RESET = "\033[1m", "\033[36m", "\033[2m", "\033[0m"
_FENCE: Final = "```"
_LONGEST_HELD: Final = 20
_HEADING: Final = re.compile(r"#{1,6}$")
_INLINE: Final = re.compile(r"(\*\*|`)")
#: A word with what follows it, up to the next one.
_WORD: Final = re.compile(r"[^ \n]*[ \n]")


class MarkdownWriter:
    """Turns pieces of Markdown into text for a terminal of `width` columns."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._held = ""
        self._column = 0
        self._is_fenced = self._is_bold = self._is_code = self._is_heading = False

    def write(self, piece: str) -> str:
        """What to print now. The last word is held until its end is known, unless it is long."""
        self._held += piece
        shown = []
        end = 0
        for word in _WORD.finditer(self._held):
            shown.append(self._word(word[0][:-1], word[0][-1]))
            end = word.end()
        self._held = self._held[end:]
        # Many scripts have no spaces. What may be half a mark stays.
        text = self._held.rstrip("*`")
        if len(text) > _LONGEST_HELD:
            self._held = self._held[len(text) :]
            shown.append(self._word(text, ""))
        return "".join(shown)

    def end(self) -> str:
        """What is still held; the next text starts plain."""
        shown = self._word(self._held, "") if self._held else ""
        is_styled = self._is_bold or self._is_code or self._is_heading or self._is_fenced
        self._held, self._column = "", 0
        self._is_fenced = self._is_bold = self._is_code = self._is_heading = False
        return shown + (_RESET if is_styled else "")

    def _word(self, word: str, after: str) -> str:
        at_start = self._column == 0
        if at_start and word.startswith(_FENCE):
            return self._fence(word, after)
        if self._is_fenced:
            return self._advance(word, after)
        if at_start and _HEADING.match(word) and after == " ":
            self._is_heading = True
            return _BOLD
        before = self._wrap(word)
        shown = before + self._advance(self._styled(word), after, len(_INLINE.sub("", word)))
        if after == "\n" and self._is_heading:
            self._is_heading = False
            return shown.removesuffix("\n") + _RESET + "\n"
        return shown

    def _fence(self, word: str, after: str) -> str:
        self._is_fenced = not self._is_fenced
        if self._is_fenced:
            return _FENCED + self._advance(word, after)
        return self._advance(word, "") + _RESET + self._advance("", after)

    def _wrap(self, word: str) -> str:
        length = len(_INLINE.sub("", word))
        if self._column and self._column + length > self._width:
            self._column = 0
            return "\n"
        return ""

    def _advance(self, shown: str, after: str, length: int | None = None) -> str:
        self._column = (
            0
            if after == "\n"
            else self._column + (len(shown) if length is None else length) + len(after)
        )
        return shown + after

    def _styled(self, word: str) -> str:
        return "".join(map(self._mark, _INLINE.split(word)))

    def _mark(self, part: str) -> str:
        match part:
            case "`":
                self._is_code = not self._is_code
                return _CODE if self._is_code else self._restored()
            case "**" if not self._is_code:
                self._is_bold = not self._is_bold
                return _BOLD if self._is_bold else self._restored()
        return part

    def _restored(self) -> str:
        return _RESET + (_BOLD if self._is_bold or self._is_heading else "")
