"""`python -m local dev | demo | chat | token | migrate`; `--help` after each."""

import argparse
import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic

from functions.output import run_while_read
from functions.packages import needed_packages

with needed_packages("local", "make dev", "make bootstrap"):
    from functions.registry import InvalidFunctions, listed_functions
    from local import CannotStart, demo
    from local.accounts import SignIn, sign_in
    from local.database import migrate, outdated
    from local.environment import OWN_SETTINGS, environment, folder, port, settings_of
    from local.keys import Keys
    from local.options import add_chat_options, add_token_options
    from local.plan import Plan
    from local.probe import free_port
    from local.project import project_url
    from local.running import Running, announce, running_stack
    from local.stack import RunningStack, start_stack
    from local.terminal import Agent, Chat, Screen, waiting
    from shared.auth import Minter
    from shared.doctor import misspelled

_GATEWAY_PORT = 54321
_POSTGRES_PORT = 54322
#: How to use the running stack, with test users and without.
_TEST_USERS = """\
  chat       {at}.venv/bin/python -m local chat
  token      {at}.venv/bin/python -m local token
"""
_OWN_USERS = """\
  users      those of the project in SUPABASE_URL: `{at}.venv/bin/python -m local chat --token`, with such a token
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code. An expected failure prints one sentence."""
    return run_while_read(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _interrupt)
    try:
        code: int | None = options.run(options)
    except KeyboardInterrupt:
        return 0 if options.run is _dev else 130
    except BrokenPipeError:
        raise
    except (CannotStart, InvalidFunctions, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return code or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local", description="The whole stack on one machine."
    )
    commands = parser.add_subparsers(required=True)
    for name, run, summary in (
        ("dev", _dev, "start everything and keep it running until Ctrl-C"),
        ("demo", _demo, "start everything, send one message, print the reply"),
        ("chat", _chat, "talk to an agent of a running `make dev`, or of --url"),
        ("token", _token, "print an access token of a test user"),
        ("migrate", _migrate, "apply supabase/migrations to the local database, or to another"),
    ):
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run=run)
        if run is _token:
            add_token_options(command)
        if run is _chat:
            add_chat_options(command)
        if run is _migrate:
            command.add_argument(
                "--url", help="a database URL, with the login that owns the schemas"
            )
    return parser


def _dev(_: argparse.Namespace) -> None:
    environ = environment()
    for sentence in misspelled(settings_of(), OWN_SETTINGS).values():
        _say(f"  .env       {sentence}")
    start_time = monotonic()
    with start_stack(_plan(environ)) as running:
        is_given = bool(environ.get("SUPABASE_DATABASE_URL", "").strip())
        database = "that of SUPABASE_DATABASE_URL" if is_given else running.owner_url
        try:
            with announce(folder(environ), _announcement(running)):
                _say(_summary(running, database, folder(environ), monotonic() - start_time))
                running.watch()
        finally:
            _say("\nStopping.")


def _demo(_: argparse.Namespace) -> None:
    environ = environment()
    plan = replace(
        _plan(environ),
        # Separate from a running `make dev` and its data.
        folder=folder(environ) / "demo",
        gateway_port=free_port(),
        postgres_port=free_port(),
        keeps_data=False,
    )
    with start_stack(plan) as running:
        login = SignIn()
        sign_in(login, running.owner_url)
        _say(f"\n  model      {running.model}\n  you        {demo.MESSAGE}\n")
        token = login.token(plan.keys.user, project_url(environ))
        transcript = demo.run(Agent(running.gateway_url, _agent_name(None), lambda: token), _write)
        _say("\n")
    for kind, count in transcript.counts.items():
        _say(f"  {count:>5} {kind}")
    _say(f"\n{transcript.summary()}")


def _chat(options: argparse.Namespace) -> int:
    screen = Screen(as_json=options.json)
    # Another gateway may have other agents than this checkout.
    name = options.agent if options.url and options.agent else _agent_name(options.agent)
    url, token = options.url, lambda: str(options.token)
    if url and not options.token:
        raise CannotStart("--url needs --token: test users exist on this machine only.")
    if options.token and not url:
        url = running_stack(folder(environment())).gateway_url
    if not options.token:
        url, token = _local_gateway(SignIn(options.user))
        screen.note(f"You are {options.user}. --user NAME is another test user.")
    agent = Agent(url, name, token, screen.reconnecting)
    chat = Chat(agent, screen, options.thread)
    message = options.message or (
        "" if screen.is_terminal or sys.stdin.isatty() else sys.stdin.read()
    )
    return chat.say(message) if message.strip() else chat.talk()


def _agent_name(name: str | None) -> str:
    """An agent of this checkout: the one with this name, or the first one."""
    agents = listed_functions().agents
    if not agents:
        raise CannotStart("There is no agent: `python -m functions new NAME` makes one.")
    if name and name not in agents:
        raise CannotStart(f"There is no agent {name}; choose one of {', '.join(agents)}.")
    return name or agents[0]


def _local_gateway(login: SignIn) -> tuple[str, Callable[[], str]]:
    home = folder(environment())
    running = running_stack(home)
    sign_in(login, running.owner_url)
    return running.gateway_url, lambda: login.token(_keys(home).user, running.project_url)


def _token(options: argparse.Namespace) -> None:
    login = SignIn(options.user, options.role, options.anonymous, options.expires)
    print(_tools_token(login) if options.audience == "tools" else _user_token(login))


def _user_token(login: SignIn) -> str:
    _, token = _local_gateway(login)
    return token()


def _tools_token(login: SignIn) -> str:
    home = folder(environment())
    try:
        sign_in(login, running_stack(home).owner_url)
    except CannotStart as error:
        # Most tools work without the database.
        print(f"This user is in no database yet. {error}", file=sys.stderr)
    return Minter("local", _keys(home).internal.private_text).mint("tools", login.claims, None)


def _migrate(options: argparse.Namespace) -> None:
    environ = environment()
    url = options.url or environ.get("SUPABASE_DATABASE_URL")
    if not url:
        url = running_stack(folder(environ)).owner_url
        if sentence := asyncio.run(outdated(url)):
            raise CannotStart(sentence)
    with waiting("applying migrations"):
        applied = asyncio.run(migrate(url))
    _say("\n".join(f"applied {name}" for name in applied) or "Nothing to apply.")


def _plan(environ: dict[str, str]) -> Plan:
    home = folder(environ)
    return Plan(
        folder=home,
        keys=_keys(home),
        environ=environ,
        gateway_port=port(environ, "GATEWAY_PORT", _GATEWAY_PORT),
        postgres_port=port(environ, "POSTGRES_PORT", _POSTGRES_PORT),
        keeps_data=True,
        say=_say,
    )


def _keys(home: Path) -> Keys:
    return Keys.of(home / "keys.json")


def _announcement(stack: RunningStack) -> Running:
    return Running(os.getpid(), stack.gateway_url, stack.owner_url, stack.project_url)


def _summary(running: RunningStack, database: str, home: Path, seconds: float) -> str:
    users = _TEST_USERS if running.has_test_users else _OWN_USERS
    # Commands of another terminal find the stack by its folder.
    at = f"LOCAL_FOLDER={shlex.quote(str(home))} " if home != folder({}) else ""
    return f"""
Ready in {seconds:.1f} s. Ctrl-C stops everything.

  page       {running.page_url}
  gateway    {running.gateway_url}
  agents     {", ".join(listed_functions().agents)}
  tools      {running.tools_url}
  database   {database}
  model      {running.model}
  logs       {home}/logs
{users.format(at=at)}"""


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _say(line: str) -> None:
    print(line, flush=True)


def _write(text: str) -> None:
    print(text, end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
