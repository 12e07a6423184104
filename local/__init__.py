"""The whole bundle on one machine: Postgres, the gateway on Deno, the functions, a local model, and the keys."""


class CannotStart(Exception):
    """Something on this machine is in the way; the message is one sentence for the person at the screen."""
