"""Checks of `doctor`: each ends in one line, whatever happens to it, and the next one starts."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import get_args

import pytest

from shared.core.environment import InvalidSettings
from shared.doctor.checks import Check, Failed, run_checks
from shared.doctor.servers import remedy
from shared.mcp.faults import Fault, ServerFailed


async def fine() -> str:
    return "all is well"


async def quiet() -> str:
    return ""


async def crash() -> str:
    raise RuntimeError("canary")


async def fail() -> str:
    raise Failed("it is\nwrong: mend it.")


async def refuse() -> str:
    raise InvalidSettings("PORT must be a whole number.")


async def miss() -> str:
    raise InvalidSettings("Set PORT; docs/configuration.md says to what.")


async def hang() -> str:
    return await asyncio.Future[str]()


@pytest.mark.parametrize(
    ("run", "outcome"),
    [
        (fine, "ok, all is well"),
        (quiet, "ok"),
        (fail, "FAILED: it is wrong: mend it."),
        (refuse, "FAILED: PORT must be a whole number."),
        (miss, "FAILED: set PORT; docs/configuration.md says to what."),
        (crash, "FAILED: RuntimeError, of which this check knows no remedy."),
        (hang, "FAILED: no answer within 0.01 s."),
    ],
)
async def test_a_check_ends_in_one_line(run: Callable[[], Awaitable[str]], outcome: str) -> None:
    written: list[str] = []

    is_ok = await run_checks([Check(name="thing", run=run, seconds=0.01)], written.append)

    assert "".join(written) == f"{'thing':<20} {outcome}\n"
    assert is_ok is outcome.startswith("ok")


async def test_a_check_is_named_before_it_runs_and_the_others_run_too() -> None:
    written: list[str] = []

    async def read() -> str:
        return str(len(written))

    checks = [
        Check(name="first", run=fail),
        Check(name="second", run=read),
        Check(name="third", run=read, needs="first"),
        Check(name="fourth", run=read, needs="third"),
    ]
    assert not await run_checks(checks, written.append)
    outcomes = [text.strip() for text in written[1::2]]
    assert outcomes[1:] == [
        "ok, 3",
        "not tried, because of: first",
        "not tried, because of: third",
    ]


@pytest.mark.parametrize("fault", get_args(Fault))
def test_each_fault_of_a_server_has_a_remedy_without_the_servers_words(fault: Fault) -> None:
    failure = ServerFailed("canary", fault, status=200, code=-32000)

    assert "check its url in MCP_SERVERS" in remedy(failure, is_ours=False)
    assert "check TOOLS_URL" in remedy(failure, is_ours=True)
    assert "canary" not in remedy(failure, is_ours=False)


def test_a_key_is_named_where_it_may_be_wrong() -> None:
    refused = ServerFailed("", "unauthorized", status=401)
    away = ServerFailed("", "unreachable")
    elsewhere = ServerFailed("", "unauthorized", status=403)

    assert remedy(refused, is_ours=True).endswith(
        "(401): check TOOLS_URL, and that INTERNAL_PUBLIC_KEYS of `tools` has the public half of INTERNAL_SIGNING_KEY."
    )
    assert "MCP_ALLOWED_HOSTS" in remedy(elsewhere, is_ours=True)
    assert "MCP_ALLOWED_HOSTS" not in remedy(elsewhere, is_ours=False)
    assert remedy(away, is_ours=False) == "it cannot be reached: check its url in MCP_SERVERS."
