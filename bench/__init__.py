"""Measurements side by side: ours, what one writes first, and the peers that install and run."""


class NotMeasured(Exception):
    """A contender gave no figure: its message says why, and belongs into the table."""
