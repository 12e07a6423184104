"""The local stack: Postgres, the gateway on Deno, the functions, a local model, and the keys."""


class CannotStart(Exception):
    """A command fails for a reason on this machine; the message is one sentence for the user."""
