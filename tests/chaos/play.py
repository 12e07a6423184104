"""One play of chaos: start everything, let clients and the saboteur work, wait until all runs ended, compare."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import asyncpg
import httpx
import orjson

from local.accounts import SUPABASE_URL, SignIn
from local.children import Children
from local.database.migrations import bootstrap, migrate
from local.database.postgres import SUPERUSER, Server, start
from local.keys import Keys
from local.probe import free_port
from tests.chaos.agents import AGENTS, Models, models
from tests.chaos.cables import Cable, serving
from tests.chaos.checker import check, interrupted
from tests.chaos.client import Client
from tests.chaos.effects import Effects, effects
from tests.chaos.findings import Finding
from tests.chaos.fleet import FUNCTIONS, Fleet, command, front
from tests.chaos.record import recorded
from tests.chaos.report import Report, make_report
from tests.chaos.saboteur import RECOVERY_LIMIT, Saboteur
from tests.chaos.script import Script
from tests.platform.stand_in import Platform

LEASE, SWEEP = 2.0, 3.0
_DATABASE = "chaos"


@dataclass(frozen=True)
class Play:
    """The parameters of a play. `progress` gets lines for the user."""

    kills: int
    seed: int
    clients: int
    progress: Callable[[str], None]


@dataclass
class Stage:
    """Everything that runs."""

    fleet: Fleet
    cable: Cable
    effects: Effects
    owner: "asyncpg.Pool[asyncpg.Record]"
    gateway: str
    runner: str
    keys: Keys
    script: Script
    models: Models


def play(what: Play) -> Report:
    """Play to the end."""
    folder = Path(mkdtemp(prefix="agent-functions-chaos-"))
    folder.chmod(0o711)
    try:
        with Children(folder / "logs") as children:
            server = start(children, folder / "postgres", pg_bin="", is_safe=False)
            return asyncio.run(_play(what, server, folder))
    finally:
        shutil.rmtree(folder)


async def _play(what: Play, server: Server, folder: Path) -> Report:
    async with _stage(what, server, folder) as stage:
        clients = await _clients(what, stage)
        saboteur = Saboteur(
            stage.fleet,
            stage.cable,
            random.Random(f"{what.seed} saboteur"),  # noqa: S311  # it must be the same again
            LEASE,
            stage.owner,
            what.progress,
        )
        stop = asyncio.Event()
        talking = [asyncio.ensure_future(client.talk(stop)) for client in clients]
        sweeping = asyncio.ensure_future(_sweep(stage.runner))
        await saboteur.work(what.kills)
        stop.set()
        what.progress("waiting for all runs to end")
        await asyncio.gather(*talking)
        await _settle(stage.owner)
        sweeping.cancel()
        return await _report(what, stage, clients, saboteur)


@asynccontextmanager
async def _stage(what: Play, server: Server, folder: Path) -> AsyncIterator[Stage]:
    await _create(server)
    url, keys = server.url("postgres", _DATABASE), Keys.of(folder / "keys.json")
    script, cable = Script(what.seed), Cable(server.port)
    cable.open.set()
    async with AsyncExitStack() as stack:
        answering = await stack.enter_async_context(models(script))
        counting = await stack.enter_async_context(effects(what.seed, url))
        await stack.enter_async_context(serving(cable))
        fleet = Fleet(await stack.enter_async_context(Platform(folder, command)))
        ports = {name: free_port() for name in FUNCTIONS}
        runner = f"http://127.0.0.1:{ports['runner']}/"
        settings = _settings(server, cable, keys, answering, counting)
        await fleet.deploy(ports, **settings, RUNNER_URL=runner)
        log = folder / "gateway.log"
        door = await stack.enter_async_context(front(keys, ports, log))
        owner = await stack.enter_async_context(asyncpg.create_pool(url, min_size=1, max_size=6))
        yield Stage(fleet, cable, counting, owner, door, runner, keys, script, answering)


async def _create(server: Server) -> None:
    administrator = await asyncpg.connect(server.url(SUPERUSER))
    await administrator.execute(f"create database {_DATABASE}")
    await administrator.close()
    await bootstrap(server, _DATABASE)
    await migrate(server.url("postgres", _DATABASE))


def _settings(
    server: Server, cable: Cable, keys: Keys, answering: Models, counting: Effects
) -> dict[str, str]:
    direct = server.url("agent_api", _DATABASE)
    tools = {"url": counting.url, "approval": "never", "repeatable": ["look"]}
    return {
        "SUPABASE_DATABASE_URL": direct.replace(f":{server.port}/", f":{cable.port}/"),
        "SUPABASE_URL": SUPABASE_URL,
        "SUPABASE_JWKS": keys.user.public_keys,
        "GATEWAY_PUBLIC_KEYS": keys.gateway.public_keys,
        **answering.settings,
        "MCP_SERVERS": orjson.dumps({"world": tools}).decode(),
        "DATABASE_CONNECTIONS": "3",
        "LEASE_SECONDS": str(LEASE),
        "LEASE_RENEW_SECONDS": "0.5",
        "TAKEOVER_GRACE_SECONDS": "0.3",
        "TICK_SECONDS": "0.1",
        "KEEP_ALIVE_SECONDS": "1",
        "DATABASE_SECONDS": "1.5",
        "MAX_TURN_TRIES": "100",
        "STREAM_LEG_SECONDS": "5",
    }


async def _clients(what: Play, stage: Stage) -> list[Client]:
    async def has_ended(run: str) -> bool:
        ended = "select ended_at is not null from agent.run where client_run_id = $1"
        return bool(await stage.owner.fetchval(ended, run))

    clients = []
    for nth in range(what.clients):
        who = SignIn(user=f"user-{nth}")
        await stage.owner.execute("insert into auth.users (id) values ($1)", who.sub)
        clients.append(
            Client(
                httpx.AsyncClient(timeout=httpx.Timeout(30, connect=5)),
                stage.gateway,
                [*AGENTS],
                stage.keys,
                who,
                random.Random(f"{what.seed} client {nth}"),  # noqa: S311  # it must be the same again
                has_ended,
            )
        )
    return clients


async def _sweep(runner: str) -> None:
    """Sweep, as a schedule does."""
    async with httpx.AsyncClient(timeout=5) as http:
        while True:
            await asyncio.sleep(SWEEP)
            try:
                await http.post(f"{runner}sweep")
            except httpx.HTTPError:
                continue


async def _settle(owner: "asyncpg.Pool[asyncpg.Record]") -> None:
    waits = "select exists (select from agent.run where ended_at is null)"
    try:
        async with asyncio.timeout(RECOVERY_LIMIT):
            while await owner.fetchval(waits):  # noqa: ASYNC110  # other processes have no event
                await asyncio.sleep(0.1)
    except TimeoutError:
        # The check reports which.
        return


async def _report(
    what: Play, stage: Stage, clients: Sequence[Client], saboteur: Saboteur
) -> Report:
    started = [run for client in clients for run in client.started]
    record, senders = await recorded(stage.owner), stage.models.senders()
    excused = saboteur.hit | stage.fleet.released()
    findings = [
        *check(started, record, stage.effects, stage.script, senders, saboteur.victims),
        interrupted(stage.fleet.started(), excused),
        Finding("processes that crashed", stage.fleet.platform.crashes),
    ]
    cuts = sum(client.cuts for client in clients)
    return make_report(what.seed, findings, record, stage.fleet, saboteur, cuts)
