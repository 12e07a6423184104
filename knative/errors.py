"""What a person is told when a command cannot do what it was asked to."""


class Refused(Exception):
    """Why not, as one or a few sentences; never with the value of a secret."""
