"""Starts and stops the whole stack in order: Postgres, a model, the functions, the gateway."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from time import monotonic, sleep

from functions.registry import listed_functions
from local import database, gateway, model, page
from local.children import Child, Children
from local.crashes import Crashes
from local.database import Logins, given_logins
from local.keys import Keys
from local.plan import Plan, check, locked
from local.probe import answer, free_port, wait_until_responding
from local.project import read_project
from local.reload import Reloader
from shared.core import Settings

_READY_SECONDS = 30.0
#: The first start downloads the gateway's one package.
_GATEWAY_SECONDS = 120.0
#: As the schedule of a deployment does every minute; a lease lasts six seconds here.
_SWEEP_SECONDS = 10.0
#: What a part does while it does not respond yet.
_WHY_LATE = {
    "model": "it loads 100 MB of weights",
    "gateway": "the first start downloads its one package",
}
_ANY_STATUS = range(100, 600)
#: Defaults that differ from a deployment's. After a kill, another process claims the runs within seconds instead of
#: half a minute. Ctrl-C does not wait for runs, which continue at the next start. A tool that was just written can be
#: used by the next run.
_LOCAL_DEFAULTS = {
    "LEASE_SECONDS": "6",
    "LEASE_RENEW_SECONDS": "2",
    "STOP_GRACE_SECONDS": "0.5",
    "STOP_HANDOVER_SECONDS": "0.5",
    "TOOL_LIST_FRESH_SECONDS": "0",
}


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
    #: The project whose users, and the test users, may call the gateway.
    project_url: str
    #: Whether `chat` and `token` can sign in as users of their own.
    has_test_users: bool
    model: str
    reloader: Reloader
    crashes: Crashes
    #: Sends the runs that no process executes.
    sweep: Callable[[], object]

    def watch(self) -> None:
        """Restart functions that change or are killed, show their errors, and send waiting runs, until a part ends or
        a signal comes.

        Raises:
            CannotStart: a part ended; the message has the end of its log.
        """
        next_sweep = monotonic() + _SWEEP_SECONDS
        while True:
            self.reloader.check()
            self.crashes.check()
            for child in self.children.all:
                if not self.reloader.may_end(child):
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
    # It may be anywhere in the checkout, and has private keys.
    (plan.folder / ".gitignore").write_text("*\n")
    with locked(plan.folder):
        check(plan)
        with ExitStack() as parts:
            children = parts.enter_context(Children(plan.folder / "logs"))
            yield _start(plan, children, parts)


def continue_open_runs(runner_port: int, say: Callable[[str], None]) -> None:
    """Dispatch the runs that the last Ctrl-C or a crash left; report a failure."""
    if (status := answer(runner_port, "/sweep", method="POST")) != 200:
        outcome = f"responds {status}" if status else "does not respond"
        say(f"Open runs are not continued: runner {outcome} to POST /sweep. Its log shows why.")


def _start(plan: Plan, children: Children, parts: ExitStack) -> RunningStack:
    given = _given_logins(plan) if plan.database_url else None
    # The model loads while the database starts; the gateway starts while the functions do.
    choice, local_model = _model(plan, children)
    logins = given or _own_logins(plan, children)
    project = read_project(plan.environ, plan.keys, plan.say)
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
        **project.settings,
        **urls,
    }
    functions = [_function(plan, children, name, ports[name], settings) for name in ports]
    agents = listed_functions().agents
    local_page = page.Page(plan.keys, logins.owner, children, ports, agents, project.url)
    page_url = parts.enter_context(page.serve(local_page, plan.gateway_port))
    front = _gateway(plan, children, ports, {**project.settings, "PAGE_URL": page_url})
    if local_model:
        _wait(plan, local_model, choice.port, "/health")
    for child in functions:
        _wait(plan, child, ports[child.name], "/readiness")
    _wait(plan, front, plan.gateway_port, gateway.PATH)
    continue_open_runs(ports["runner"], plan.say)
    origin = f"http://127.0.0.1:{plan.gateway_port}"
    return RunningStack(
        children,
        f"{origin}/",
        f"{origin}{gateway.PATH}",
        urls["TOOLS_URL"],
        logins.owner,
        project.url,
        logins.has_test_users,
        choice.title,
        Reloader({child.name: (child, ports[child.name]) for child in functions}, agents, plan.say),
        Crashes(functions, plan.say),
        partial(answer, ports["runner"], "/sweep", method="POST"),
    )


def _model(plan: Plan, children: Children) -> tuple[model.Choice, Child | None]:
    choice = model.choose(plan.environ, free_port())
    if not choice.stand_in:
        return choice, None
    plan.say(f"  starting   {choice.stand_in}")
    return choice, children.start(choice.stand_in, choice.command, env=plan.environ)


def _given_logins(plan: Plan) -> Logins:
    plan.say("  checking   the database of SUPABASE_DATABASE_URL")
    may_bypass = Settings.from_env(plan.environ).allow_bypassrls_login
    return given_logins(plan.database_url, plan.folder, may_bypass=may_bypass, say=plan.say)


def _own_logins(plan: Plan, children: Children) -> Logins:
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


def _gateway(
    plan: Plan, children: Children, ports: Mapping[str, int], more: Mapping[str, str]
) -> Child:
    plan.say("  starting   gateway")
    settings = gateway.settings(plan.keys, plan.environ, plan.gateway_port, ports)
    command = gateway.command(gateway.FRONT)
    return children.start("gateway", command, env={**settings, **more})


def _settings(logins: Logins, keys: Keys) -> dict[str, str]:
    return {
        "SUPABASE_DATABASE_URL": logins.functions,
        "GATEWAY_PUBLIC_KEYS": keys.gateway.public_keys,
        "INTERNAL_SIGNING_KEY": keys.internal.private_text,
        "INTERNAL_PUBLIC_KEYS": keys.internal.public_keys,
        "HOST": "127.0.0.1",
    }


def _wait(plan: Plan, child: Child, port: int, path: str) -> None:
    """Wait until a part responds, and say so; if that takes long, say what it does."""
    is_gateway = child.name == "gateway"
    why = _WHY_LATE.get(child.name, "it imports its code")
    wait_until_responding(
        child,
        port,
        path,
        seconds=_GATEWAY_SECONDS if is_gateway else _READY_SECONDS,
        expect=_ANY_STATUS if is_gateway else range(200, 300),
        say_late=lambda: plan.say(f"  waiting    {child.name}: {why}"),
    )
    _say_ready(plan, child)


def _say_ready(plan: Plan, child: Child) -> None:
    plan.say(f"  ready      {child.name:<10} {child.age_ms:5.0f} ms")
