"""The errors of a command that fails."""


class Refused(Exception):
    """The reason in one or a few sentences for people, without values of secrets."""


class Unreachable(Refused):
    """The cluster does not answer."""
