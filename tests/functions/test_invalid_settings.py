"""A setting that cannot be used stops the start with one sentence, which shows no secret."""

import asyncio
import sys

import pytest

from local.environment import ROOT
from tests.doubles import ModelServer
from tests.fixtures.database import TestDatabase
from tests.fixtures.environment import variables
from tests.fixtures.functions import settings_for


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("GATEWAY_PUBLIC_KEYS", "nonsense", "nonsense"),
        ("GATEWAY_PUBLIC_KEYS", '{"keys": []}', "[]"),
        ("MCP_SERVERS", "{canary", "canary"),
        ("MCP_SERVERS", '{"a": {"url": "http://[canary"}}', "canary"),
        ("HOST", "no such canary", "canary"),
        ("SUPABASE_URL", "canary.supabase.co", "canary"),
        ("TOOLS_URL", "ftp://canary", "canary"),
        ("RUNNER_URL", "http://user:canary@h", "canary"),
        ("SUPABASE_DATABASE_URL", "postgresql://a:canary@h/x?whatever=1", "canary"),
        ("SUPABASE_DATABASE_URL", "postgresql://a:[YOUR-PASSWORD]@h/x", "YOUR"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "canary", "canary"),
        ("INTERNAL_SIGNING_KEY", "canary", "canary"),
        ("SUPABASE_DATABASE_URL", "postgresql://agent_api:canary/x@127.0.0.1:1/postgres", "canary"),
    ],
)
async def test_one_sentence_names_the_setting_and_shows_no_value(
    database: TestDatabase, model: ModelServer, name: str, value: str, secret: str
) -> None:
    settings = settings_for(database, model, tools_url="http://127.0.0.1:1/mcp", log_level="INFO")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "functions", "assistant"),
        cwd=ROOT,
        env={
            "PATH": "/usr/bin",
            **variables(settings),
            "HOST": "127.0.0.1",
            "PORT": "1",
            name: value,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        output, errors = await process.communicate()

    assert process.returncode == 1
    assert errors.decode().count("\n") == 1, errors.decode()
    assert errors.decode().startswith((name, f"Set {name}")), errors.decode()
    assert secret not in (output + errors).decode()
    assert "Traceback" not in output.decode()
