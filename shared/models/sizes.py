"""Estimates of tokens, which are too high rather than too low: a provider refuses a request that is too long."""

from string import ascii_letters
from typing import Any, Final

import orjson

from shared.models.media import Media

#: A flat cost, because providers scale an image before they read it: its bytes say nothing. Few models take more for
#: an image in high detail.
IMAGE_TOKENS: Final = 1600
#: What a message, a call or a tool takes beside its texts.
FRAME_TOKENS: Final = 16
#: Of the base64 data of a document or a recording. Providers say little; a page of PDF has some 100 kB with its fonts.
_CHARACTERS_PER_TOKEN: Final = 100
_LETTERS: Final = ascii_letters.encode()
#: More letters than this after each space are no words, but base64 or hexadecimal digits.
_LONG_WORD: Final = 12


def text_tokens(text: str) -> int:
    """At least as many tokens as common tokenizers make of a text in any script.

    Only base64 and hexadecimal digits may take a third more. Compared with o200k_base and cl100k_base
    (docs/decisions.md): a token has at least four letters of English, two bytes of other ASCII and of most scripts, and
    one byte of emoji and of the scripts that tokenizers hardly know. In UTF-8, those begin with the bytes F0 and E1
    (Ethiopic, Burmese, Khmer and others from U+1000 on).
    """
    data = text.encode("utf-8", "surrogatepass")
    letters = len(data) - len(data.translate(None, _LETTERS))
    spaces = data.count(b" ")
    quarters = letters + max(0, letters - _LONG_WORD * (spaces + 1)) + spaces
    halves = len(data) - letters - spaces
    if not data.isascii():
        halves += 3 * data.count(b"\xe1") + 4 * data.count(b"\xf0")
    return quarters // 4 + halves // 2 + 1


def media_tokens(media: Media) -> int:
    """The tokens of a file: an image's are the same for all, others have more the longer they are."""
    if media.kind == "image":
        return IMAGE_TOKENS
    return IMAGE_TOKENS + len(media.data) // _CHARACTERS_PER_TOKEN


def json_tokens(value: Any) -> int:
    """The tokens of a JSON value in a request."""
    try:
        return text_tokens(orjson.dumps(value).decode())
    except TypeError:
        # An integer beyond 64 bits, or a lone surrogate.
        return text_tokens(str(value))
