"""The options of `python -m local token` and `chat`."""

import argparse

from local.accounts import DEFAULT_USER


def add_token_options(command: argparse.ArgumentParser) -> None:
    """Who signs in, and for how long."""
    command.add_argument(
        "--user",
        default=DEFAULT_USER,
        help="any name; the same name is the same user; default: %(default)s, as on the page",
    )
    command.add_argument("--role", default="", help="app_metadata.role, such as admin")
    command.add_argument(
        "--audience",
        choices=("gateway", "tools"),
        default="gateway",
        help="`tools`: a token for MCP clients, such as functions use; valid for two minutes",
    )
    command.add_argument("--anonymous", action="store_true", help="a user without an account")
    command.add_argument(
        "--expires", type=int, default=3600, metavar="SECONDS", help="lifetime of the token"
    )


def add_chat_options(command: argparse.ArgumentParser) -> None:
    """Which agent to talk to, and as whom."""
    command.epilog = (
        "Exit codes: 0 answered, 1 failed, 2 wrong options, 3 a question is open, 130 stopped."
    )
    command.add_argument(
        "message",
        nargs="?",
        help="send this, print the answer, and exit; so does piped input, which is one message",
    )
    command.add_argument(
        "--url", help="another gateway, such as https://…/functions/v1/auth-gateway"
    )
    command.add_argument("--agent", metavar="NAME", help="default: the first agent that is listed")
    command.add_argument("--token", help="an access token; default: one of a test user")
    command.add_argument(
        "--user",
        default=DEFAULT_USER,
        help="name of the test user; default: %(default)s, as on the page",
    )
    command.add_argument("--thread", default="", metavar="ID", help="continue this thread")
    command.add_argument("--json", action="store_true", help="print the events, one per line")
