"""Text of others, made safe for a terminal."""


def printable(text: str, kept: str = "\n") -> str:
    """The text without what could move the cursor, or cannot be written: a `?` for each, but for those in `kept`."""
    return "".join(each if each.isprintable() or each in kept else "?" for each in text)
