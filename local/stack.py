"""Starts and stops the whole stack in order: Postgres, a model, the functions, the gateway."""

import fcntl
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, sleep

from functions.registry import listed_functions
from local import CannotStart, database, gateway, model, page
from local.accounts import SUPABASE_URL
from local.binaries import find_binaries
from local.children import Child, Children
from local.database import Logins
from local.keys import Keys
from local.probe import answer, free_port, require_free, wait_until_responding
from local.reload import Reloader
from shared.core import InvalidSettings, Settings

_READY_SECONDS = 30.0
#: The first start downloads the gateway's one package.
_GATEWAY_SECONDS = 120.0
#: As the schedule of a deployment does every minute; a lease lasts six seconds here.
_SWEEP_SECONDS = 10.0
_ANY_STATUS = range(100, 600)
#: Defaults that differ from a deployment's. After a kill, another process claims the runs within seconds instead of
#: half a minute. Ctrl-C does not wait for runs, which continue at the next start.
_LOCAL_DEFAULTS = {
    "LEASE_SECONDS": "6",
    "LEASE_RENEW_SECONDS": "2",
    "STOP_GRACE_SECONDS": "0.5",
    "STOP_HANDOVER_SECONDS": "0.5",
}


@dataclass(frozen=True)
class Plan:
    """The stack to start: its folder, keys, ports, and the user's settings."""

    folder: Path
    keys: Keys
    environ: Mapping[str, str]
    gateway_port: int
    postgres_port: int
    keeps_data: bool
    say: Callable[[str], None]

    def value(self, name: str) -> str:
        return self.environ.get(name, "").strip()

    @property
    def database_url(self) -> str:
        return self.value("SUPABASE_DATABASE_URL")


@dataclass(frozen=True)
class RunningStack:
    """A running stack."""

    children: Children
    #: For browsers.
    page_url: str
    gateway_url: str
    #: For MCP clients.
    tools_url: str
    #: The database, as the migrations' login.
    owner_url: str
    model: str
    reloader: Reloader
    #: Sends the runs that no process executes.
    sweep: Callable[[], object]

    def watch(self) -> None:
        """Until a part ends or a signal comes: restart functions whose files change, and send waiting runs.

        Raises:
            CannotStart: a part ended; the message has the end of its log.
        """
        next_sweep = monotonic() + _SWEEP_SECONDS
        while True:
            self.reloader.check()
            for child in self.children.all:
                if child not in self.reloader.restarted:
                    child.check()
            if monotonic() >= next_sweep:
                next_sweep = monotonic() + _SWEEP_SECONDS
                self.sweep()
            sleep(0.2)


@contextmanager
def start_stack(plan: Plan) -> Iterator[RunningStack]:
    """Start the stack; stop it on exit.

    Raises:
        CannotStart: the stack cannot start; no process is left.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    with _lock_folder(plan.folder):
        _check(plan)
        with ExitStack() as parts:
            children = parts.enter_context(Children(plan.folder / "logs"))
            yield _start(plan, children, parts)


@contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise CannotStart(
                f"The stack already runs in this checkout, as process {lock.read()}; stop that one first."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _check(plan: Plan) -> None:
    # Everything that can be checked before the first process starts.
    gateway.find_deno()
    require_free(plan.gateway_port, "stop what uses it (`supabase start`?) or set GATEWAY_PORT.")
    if not plan.database_url:
        find_binaries(plan.value("PG_BIN"))
        require_free(plan.postgres_port, "stop what uses it or set POSTGRES_PORT.")
    model.choose(plan.environ, 0)
    level = plan.value("LOG_LEVEL").upper()
    if level and level not in logging.getLevelNamesMapping():
        raise CannotStart(f"LOG_LEVEL={level} must be DEBUG, INFO, WARNING or ERROR.")
    try:
        Settings.from_env(plan.environ)
    except InvalidSettings as error:
        raise CannotStart(str(error)) from None


def continue_open_runs(runner_port: int, say: Callable[[str], None]) -> None:
    """Dispatch the runs that the last Ctrl-C or a crash left; report a failure."""
    if (status := answer(runner_port, "/sweep", method="POST")) != 200:
        outcome = f"responds {status}" if status else "does not respond"
        say(f"Open runs are not continued: runner {outcome} to POST /sweep. Its log shows why.")


def _start(plan: Plan, children: Children, parts: ExitStack) -> RunningStack:
    # The model loads while the database starts; the gateway starts while the functions do.
    choice, local_model = _model(plan, children)
    logins = _logins(plan, children)
    ports = {name: free_port() for name in listed_functions().names}
    urls = {
        "RUNNER_URL": f"http://127.0.0.1:{ports['runner']}/",
        "TOOLS_URL": f"http://127.0.0.1:{ports['tools']}/mcp",
    }
    settings = {
        **_LOCAL_DEFAULTS,
        **plan.environ,
        **choice.settings,
        **_settings(logins, plan.keys),
        **urls,
    }
    functions = [_function(plan, children, name, ports[name], settings) for name in ports]
    agents = listed_functions().agents
    local_page = page.Page(plan.keys, logins.owner, children, ports, agents)
    page_url = parts.enter_context(page.serve(local_page, plan.gateway_port))
    front = _gateway(plan, children, ports, page_url)
    if local_model:
        wait_until_responding(local_model, choice.port, "/health", seconds=_READY_SECONDS)
        _say_ready(plan, local_model)
    for child in functions:
        wait_until_responding(child, ports[child.name], "/readiness", seconds=_READY_SECONDS)
        _say_ready(plan, child)
    wait_until_responding(
        front, plan.gateway_port, gateway.PATH, seconds=_GATEWAY_SECONDS, expect=_ANY_STATUS
    )
    _say_ready(plan, front)
    continue_open_runs(ports["runner"], plan.say)
    origin = f"http://127.0.0.1:{plan.gateway_port}"
    return RunningStack(
        children,
        f"{origin}/",
        f"{origin}{gateway.PATH}",
        urls["TOOLS_URL"],
        logins.owner,
        choice.title,
        Reloader({child.name: (child, ports[child.name]) for child in functions}, agents, plan.say),
        partial(answer, ports["runner"], "/sweep", method="POST"),
    )


def _model(plan: Plan, children: Children) -> tuple[model.Choice, Child | None]:
    choice = model.choose(plan.environ, free_port())
    if not choice.stand_in:
        return choice, None
    plan.say(f"  starting   {choice.stand_in}")
    return choice, children.start(choice.stand_in, choice.command, env=plan.environ)


def _logins(plan: Plan, children: Children) -> Logins:
    if plan.database_url:
        return Logins(plan.database_url, plan.database_url)
    plan.say("  starting   postgres")
    logins = database.start(
        children,
        plan.folder / "postgres",
        port=plan.postgres_port,
        pg_bin=plan.value("PG_BIN"),
        keeps_data=plan.keeps_data,
        say=plan.say,
    )
    _say_ready(plan, children.all[-1])
    return logins


def _function(
    plan: Plan, children: Children, name: str, port: int, settings: Mapping[str, str]
) -> Child:
    plan.say(f"  starting   {name}")
    command = [sys.executable, "-m", "functions", name]
    return children.start(name, command, env={**settings, "PORT": str(port)})


def _gateway(plan: Plan, children: Children, ports: Mapping[str, int], page_url: str) -> Child:
    plan.say("  starting   gateway")
    settings = gateway.settings(plan.keys, plan.environ, plan.gateway_port, ports)
    command = gateway.command(gateway.FRONT)
    return children.start("gateway", command, env={**settings, "PAGE_URL": page_url})


def _settings(logins: Logins, keys: Keys) -> dict[str, str]:
    return {
        "SUPABASE_DATABASE_URL": logins.functions,
        "SUPABASE_URL": SUPABASE_URL,
        "SUPABASE_JWKS": keys.user.public_keys,
        "GATEWAY_PUBLIC_KEYS": keys.gateway.public_keys,
        "INTERNAL_SIGNING_KEY": keys.internal.private_text,
        "INTERNAL_PUBLIC_KEYS": keys.internal.public_keys,
        "HOST": "127.0.0.1",
    }


def _say_ready(plan: Plan, child: Child) -> None:
    plan.say(f"  ready      {child.name:<10} {child.age_ms:5.0f} ms")
