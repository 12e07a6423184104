"""Log lines: JSON with a static event name and the ids of the work, and no content of users or models."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.core.json import Json
from shared.core.settings import Settings

ROOT = Path(__file__).parents[2]
EVENT = re.compile(r"[a-z_]+\.[a-z_]+\Z")
#: Content of users and models, and credentials.
CONTENT = {"text", "content", "arguments", "message", "delta", "claims", "token", "authorization"}

_SCRIPT = """
import asyncio
from shared.core import bound, configure_logging, logger

async def child():
    logger.info("child.ran", extra={"n": 1})

async def main():
    with bound(run_id="run", thread_id=None):
        with bound(user_id="user"):
            await asyncio.ensure_future(child())
        logger.warning("inner.left")
    logger.debug("too.quiet")
    try:
        1 / 0
    except ZeroDivisionError:
        logger.exception("run.crashed")

configure_logging("assistant", "info")
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def lines() -> list[Json]:
    """The log lines of a separate process."""
    ran = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert not ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_a_line_is_one_object_with_level_event_function_and_time(lines: list[Json]) -> None:
    assert [(line["level"], line["event"]) for line in lines] == [
        ("INFO", "child.ran"),
        ("WARNING", "inner.left"),
        ("ERROR", "run.crashed"),
    ]
    assert {line["function"] for line in lines} == {"assistant"}
    assert all("T" in line["timestamp"] for line in lines)
    assert lines[0]["n"] == 1
    assert "ZeroDivisionError" in lines[2]["exc_info"]


def test_bound_ids_are_in_all_lines_inside_child_tasks_included(lines: list[Json]) -> None:
    assert (lines[0]["run_id"], lines[0]["user_id"]) == ("run", "user")
    assert lines[1]["run_id"] == "run"
    assert "user_id" not in lines[1]
    assert "run_id" not in lines[2]
    assert "thread_id" not in lines[0], "an id that is not known is left out"


def logged() -> Iterator[tuple[str, ast.Call]]:
    """Every call of a logger in the product."""
    for path in sorted([*ROOT.glob("shared/**/*.py"), *ROOT.glob("functions/**/*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                of = ast.unparse(node.func.value)
                if of.endswith(("logger", "_log")):
                    yield f"{path.name}:{node.lineno}", node


def test_an_event_is_a_static_name_and_its_fields_are_no_content() -> None:
    found = list(logged())
    assert len(found) > 5
    for place, call in found:
        event = call.args[0]
        choices = [event.body, event.orelse] if isinstance(event, ast.IfExp) else [event]
        for choice in choices:
            assert isinstance(choice, ast.Constant), place
            assert EVENT.match(str(choice.value)), place
        fields = [key.value for key in call.keywords if key.arg == "extra"]
        names = {
            key.value
            for extra in fields
            for node in ast.walk(extra)
            if isinstance(node, ast.Dict)
            for key in node.keys
            if isinstance(key, ast.Constant)
        }
        assert not names & CONTENT, place


def test_settings_that_are_printed_show_no_secret() -> None:
    hidden = "hunter2"
    url = f"postgresql://agent_api:{hidden}@127.0.0.1/x"
    settings = Settings(supabase_database_url=url, openai_api_key=hidden, legacy_jwt_secret=hidden)
    assert hidden not in repr(settings)
