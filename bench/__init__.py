"""Benchmarks of our functions beside naive implementations and the peers that install and run."""


class NotMeasured(Exception):
    """A contender has no figure. The message, which goes into the table, says why."""
