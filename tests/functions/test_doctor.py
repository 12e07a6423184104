"""`python -m functions doctor`: one line for each thing that a function needs, and what to do about it."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from local.environment import ROOT
from local.keys import SigningKey
from shared.core.json import Json
from shared.core.settings import Settings
from shared.doctor.postgres import CALLED
from tests.doubles import ModelServer, Reply, calls, says
from tests.fixtures.database import TestDatabase
from tests.fixtures.environment import variables
from tests.fixtures.foreign import foreign
from tests.fixtures.functions import settings_for
from tests.fixtures.processes import started
from tests.postgres.holders import superuser

CALLS_TOOL = calls(("call_0", "report", '{"answer": "ok"}'))


async def doctor(settings: Settings, **more: str) -> tuple[int, dict[str, str]]:
    """The exit code, and the outcome of each check."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "functions", "doctor"),
        cwd=ROOT,
        env={"PATH": "/usr/bin", **variables(settings), **more},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        output, errors = await process.communicate()
    text = output.decode()
    assert errors == b"", errors.decode()
    for secret in ("canary", settings.internal_signing_key[-20:], _password_of(settings)):
        assert not secret or secret not in text, text
    heading, _, checks = text.partition("\n\n")
    assert heading.startswith("Tries the variables of this environment. `make dev` has others")
    lines = [re.split(r" {2,}|(?<=.{20}) ", line, maxsplit=1) for line in checks.splitlines()]
    assert process.returncode is not None
    return process.returncode, {name.strip(): outcome.strip() for name, outcome in lines}


def _password_of(settings: Settings) -> str:
    return settings.supabase_database_url.partition("@")[0].rpartition(":")[2]


async def _never(_: Json) -> Json:
    raise AssertionError("no tool is called")


@asynccontextmanager
async def bare(database: TestDatabase) -> AsyncIterator[str]:
    """The address of a database without our migrations."""
    async with superuser(database) as owner:
        await owner.execute("create database bare")
        try:
            yield re.sub(r"/test_\d+", "/bare", database.url)
        finally:
            await owner.execute("drop database bare with (force)")


async def test_each_check_ends_in_one_line(database: TestDatabase, model: ModelServer) -> None:
    model.will(says("ok"), CALLS_TOOL)
    async with foreign(_never) as (url, _):
        code, found = await doctor(
            settings_for(database, model, mcp_servers=f'{{"far": {{"url": "{url}"}}}}')
        )

    assert code == 0, found
    assert found == {
        "database address": "ok",
        "database login": "ok, as agent_api",
        "database pooler": "ok, one server for each connection, prepared statements",
        "database schema": found["database schema"],
        "database rights": "ok",
        "gateway's keys": "ok",
        "users' keys": "ok, from SUPABASE_JWKS",
        "signing key": "ok",
        "model": "ok, fake-1 streams",
        "model's tools": "ok, fake-1 calls tools",
        "MCP far": "ok, 1 tools",
    }
    assert re.fullmatch(r"ok, \d+ functions", found["database schema"])


async def test_a_wrong_login_is_named_and_what_depends_on_it_is_not_tried(
    database: TestDatabase, model: ModelServer
) -> None:
    model.will(says("ok"), CALLS_TOOL)
    wrong = re.sub(r":[^:@/]+@", ":canary@", database.url)
    code, found = await doctor(replace(settings_for(database, model), supabase_database_url=wrong))

    assert code == 1
    assert found["database address"] == "ok"
    assert found["database login"].startswith("FAILED: SUPABASE_DATABASE_URL is refused: the pass")
    for name in ("database pooler", "database schema"):
        assert found[name] == "not tried, because of: database login"
    assert found["database rights"] == "not tried, because of: database schema"
    assert found["model"] == "ok, fake-1 streams", "the other checks are tried"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://a:canary@127.0.0.1:1/x", "nothing listens"),
        ("postgresql://a:canary@no.such.host.invalid/x", "has no address here"),
        ("mysql://a:canary@h/x", "must begin with postgresql://"),
        ("", "set SUPABASE_DATABASE_URL"),
    ],
)
async def test_an_address_that_leads_nowhere_is_explained(
    database: TestDatabase, model: ModelServer, url: str, reason: str
) -> None:
    model.will(says("ok"), CALLS_TOOL)
    settings = replace(settings_for(database, model), supabase_database_url=url)
    code, found = await doctor(settings, SUPABASE_DATABASE_URL=url)

    outcomes = found["database address"] + found["database login"]
    assert code == 1
    assert reason in outcomes


async def test_a_database_without_the_migrations_is_named(
    database: TestDatabase, model: ModelServer
) -> None:
    model.will(says("ok"), CALLS_TOOL)
    async with bare(database) as url:
        code, found = await doctor(
            replace(settings_for(database, model), supabase_database_url=url)
        )

    assert code == 1
    assert found["database login"] == "ok, as agent_api"
    assert found["database schema"].startswith("FAILED: schema agent is missing: apply")


async def test_an_older_schema_and_a_missing_right_are_named(
    database: TestDatabase, model: ModelServer
) -> None:
    model.will(says("ok"), CALLS_TOOL, says("ok"), CALLS_TOOL)
    settings = settings_for(database, model)
    async with database.owner() as owner:
        await owner.execute("revoke execute on all functions in schema agent from agent_api")
        _, forbidden = await doctor(settings)
        await owner.execute("drop function agent.prune cascade")
        code, older = await doctor(settings)

    assert "agent_api may not execute agent.append_events" in forbidden["database rights"]
    assert code == 1
    assert "function agent.prune is missing" in older["database schema"]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(status=400), "the server refuses tools (400)"),
        (Reply(says("ok")), "answered without calling the tool"),
    ],
)
async def test_a_model_without_tools_is_named(
    database: TestDatabase, model: ModelServer, reply: Reply, reason: str
) -> None:
    model.will(Reply(says("ok")), reply)
    code, found = await doctor(settings_for(database, model))

    assert (code, found["model"]) == (1, "ok, fake-1 streams")
    assert reason in found["model's tools"]


@pytest.mark.parametrize(
    ("status", "reason"), [(401, "check OPENAI_API_KEY"), (404, "check OPENAI_MODEL")]
)
async def test_a_model_that_refuses_is_explained(
    database: TestDatabase, model: ModelServer, status: int, reason: str
) -> None:
    model.will(Reply(status=status))
    code, found = await doctor(settings_for(database, model, openai_api_key="canary"))

    assert code == 1
    assert reason in found["model"]
    assert found["model's tools"] == "not tried, because of: model"


async def test_a_missing_key_of_the_model_is_named(
    database: TestDatabase, model: ModelServer
) -> None:
    settings = settings_for(database, model, openai_api_key="", openai_base_url="")
    _, found = await doctor(settings, OPENAI_MODLE="x")
    assert "did you mean OPENAI_MODEL" in found["setting"]

    assert found["model"] == "FAILED: set OPENAI_API_KEY; docs/configuration.md says to what."


async def test_a_server_of_its_own_needs_no_key(database: TestDatabase, model: ModelServer) -> None:
    model.will(says("ok"), CALLS_TOOL)
    code, found = await doctor(settings_for(database, model, openai_api_key=""))

    assert (code, found["model"]) == (0, "ok, fake-1 streams")


async def test_a_dead_mcp_server_is_named(database: TestDatabase, model: ModelServer) -> None:
    model.will(says("ok"), CALLS_TOOL)
    servers = '{"dead": {"url": "http://127.0.0.1:1/mcp", "headers": {"authorization": "canary"}}}'
    code, found = await doctor(settings_for(database, model, mcp_servers=servers))

    assert code == 1
    assert found["MCP dead"] == "FAILED: it cannot be reached: check its url in MCP_SERVERS."


async def test_our_own_tools_are_listed_with_a_signed_request(
    database: TestDatabase, model: ModelServer
) -> None:
    model.will(says("ok"), CALLS_TOOL, says("ok"), CALLS_TOOL)
    async with started("tools", database, model) as tools:
        settings = settings_for(database, model, tools_url=f"{tools.base}/mcp")
        _, found = await doctor(settings)
        stranger = SigningKey.generate("internal").private_text
        _, refused = await doctor(settings, INTERNAL_SIGNING_KEY=stranger)

    assert re.fullmatch(r"ok, \d+ tools", found["MCP tools"])
    assert refused["MCP tools"].startswith("FAILED: ")
    assert "INTERNAL_PUBLIC_KEYS of `tools`" in refused["MCP tools"]


async def test_keys_that_cannot_be_used_are_named(
    database: TestDatabase, model: ModelServer
) -> None:
    model.will(says("ok"), CALLS_TOOL)
    more = {"GATEWAY_PUBLIC_KEYS": "canary", "SUPABASE_JWKS": "", "INTERNAL_SIGNING_KEY": "canary"}
    settings = settings_for(database, model, supabase_url="http://127.0.0.1:1")
    code, found = await doctor(settings, **more)

    assert code == 1
    assert "GATEWAY_PUBLIC_KEYS is not a JWKS" in found["gateway's keys"]
    assert "check SUPABASE_URL" in found["users' keys"]
    assert "INTERNAL_SIGNING_KEY is not" in found["signing key"]


async def test_a_setting_that_cannot_be_read_is_one_sentence() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "functions", "doctor"),
        cwd=ROOT,
        env={"PATH": "/usr/bin", "PORT": "canary"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()

    assert process.returncode == 1
    assert errors.decode() == "PORT must be a whole number.\n"


def test_the_checks_know_every_function_that_the_code_calls() -> None:
    call = re.compile(r"""\.(?:_?call|rows)\(\s*"([a-z_]+)\"""")
    code = [
        path.read_text()
        for folder in ("shared", "functions")
        for path in sorted((Path(ROOT) / folder).rglob("*.py"))
    ]

    assert {name for text in code for name in call.findall(text)} == CALLED
