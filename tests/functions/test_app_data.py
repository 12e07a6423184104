"""docs/app-data.md, followed literally: its table, its agent and its test, and what it promises about sessions."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from uuid import uuid4

import pytest

from local.environment import ROOT
from shared.agents import Agent, ToolContext, ToolError, tool
from tests.doubles import ModelServer, calls, says
from tests.fixtures.checkout import copy_repository
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Person, run_input, serve
from tests.fixtures.interrupts import tool_results

_PAGE: Final = (ROOT / "docs/app-data.md").read_text()
_PLACE: Final = "insert into public.orders (item) values (:item)"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", _PAGE, re.MULTILINE | re.DOTALL)


def module(name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, made)
    exec(compile(source, name, "exec"), made.__dict__)  # noqa: S102  # code of our own page
    return made


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page's agent as a module."""
    app, _ = blocks("python")
    monkeypatch.setitem(sys.modules, "functions.orders", ModuleType("functions.orders"))
    return module("functions.orders.app", app, monkeypatch)


@pytest.fixture
async def orders(database: TestDatabase) -> None:
    (table,) = blocks("sql")
    async with database.owner() as owner:
        await owner.execute(table)


async def result_of(
    call: Any, database: TestDatabase, model: ModelServer, **arguments: Any
) -> tuple[str, Person]:
    """What the model reads of one call of this tool by a new user, and that user."""
    agent = Agent(instructions="Help.", tools=[call], approval={"*": "never"})
    model.will(calls(("1", call.name, json.dumps(arguments))), says("done"))
    async with serve(database, model, agent=agent, database_seconds=1.0) as served:
        person = await served.person()
        await person.run(run_input("go"))
    return tool_results(model)[-1], person


async def rows(database: TestDatabase) -> list[tuple[str, ...]]:
    async with database.owner() as owner:
        found = await owner.fetch("select owner::text, item, status from public.orders order by 2")
    return [tuple(row) for row in found]


def test_the_page_is_followed_to_its_own_test(tmp_path: Path) -> None:
    copy_repository(tmp_path)
    run("functions", "new", "orders", folder=tmp_path)
    app, test = blocks("python")
    (tmp_path / "functions/orders/app.py").write_text(app)
    (tmp_path / "tests/functions/test_orders.py").write_text(test)
    (tmp_path / "tests/functions/orders.sql").write_text(*blocks("sql"))

    passed = run(
        "pytest", "tests/functions/test_orders.py", "-p", "no:cacheprovider", folder=tmp_path
    )

    assert "1 passed" in passed


def run(*module: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-B", "-m", *module], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_a_session_shows_no_other_users_row_and_changes_none(
    database: TestDatabase, model: ModelServer, orders: None
) -> None:
    @tool
    async def look(context: ToolContext) -> str:
        """Read, and try to cancel, all orders."""
        async with context.session() as session:
            seen = await session.fetch_all("select * from public.orders")
            cancel = "update public.orders set status = 'cancelled' returning number"
            return f"{len(seen)} {await session.fetch_val(cancel)}"

    other = str(uuid4())
    await database.add_user(other)
    async with database.owner() as owner:
        await owner.execute("insert into public.orders (owner, item) values ($1, 'lamp')", other)

    assert (await result_of(look, database, model))[0] == "0 None"
    assert await rows(database) == [(other, "lamp", "open")]


async def test_an_order_is_placed_once_for_each_call_and_belongs_to_its_user(
    page: Any, database: TestDatabase, model: ModelServer, orders: None
) -> None:
    placing = page.place_order

    @tool
    async def place_twice(context: ToolContext) -> str:
        """Repeat a call, as a takeover does."""
        first = await placing.run({"item": "lamp"}, context, 5)
        assert await placing.run({"item": "lamp"}, context, 5) == first
        return str(first)

    result, person = await result_of(place_twice, database, model)

    assert re.fullmatch(r"Order A-\w{8} is placed.", result)
    assert await rows(database) == [(person.sub, "lamp", "open")]


async def test_the_pages_tool_turns_a_rejection_into_its_own_sentence(
    page: Any, database: TestDatabase, model: ModelServer, orders: None
) -> None:
    placing = page.place_order

    result, _ = await result_of(placing, database, model, item="")

    assert result.startswith("The order was not accepted.")
    assert await rows(database) == []


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "update public.orders set status = 'shipped'",
            "The tool's database rejected this: the user may not write this row.",
        ),
        (
            "insert into public.orders (item) values ('')",
            "The tool's database rejected this: it breaks the rule 'orders_item_check'.",
        ),
        (
            "insert into public.orders (item) values (null)",
            "The tool's database rejected this: a value is missing.",
        ),
        ("select pg_sleep(5)", "The tool's database cannot be reached. Try again later."),
        ("update public.orders set owner = auth.uid()", "The tool failed."),
        ("delete from public.orders", "The tool failed."),
    ],
)
async def test_a_rejected_statement_rolls_the_session_back_and_says_why(
    statement: str, expected: str, database: TestDatabase, model: ModelServer, orders: None
) -> None:
    @tool
    async def write(context: ToolContext) -> str:
        """Write an order, and then what is not allowed."""
        async with context.session() as session:
            await session.execute(_PLACE, {"item": "lamp"})
            await session.execute(statement)
        return "written"

    result, _ = await result_of(write, database, model)

    assert result == expected
    assert await rows(database) == []


async def test_a_tool_that_raises_in_its_session_writes_nothing_and_a_savepoint_only_its_part(
    database: TestDatabase, model: ModelServer, orders: None
) -> None:
    @tool
    async def write(fails: bool, context: ToolContext) -> str:
        """Write two orders, the second in a savepoint that is rolled back."""
        async with context.session() as session:
            await session.execute(_PLACE, {"item": "lamp"})
            try:
                async with session.transaction():
                    await session.execute(_PLACE, {"item": "chair"})
                    raise LookupError
            except LookupError:
                pass
            if fails:
                raise ToolError("No.")
        return "written"

    assert (await result_of(write, database, model, fails=True))[0] == "No."
    assert await rows(database) == []
    result, person = await result_of(write, database, model, fails=False)
    assert result == "written"
    assert await rows(database) == [(person.sub, "lamp", "open")]


async def test_a_table_without_a_grant_is_a_crash_that_the_log_names(
    page: Any,
    database: TestDatabase,
    model: ModelServer,
    orders: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with database.owner() as owner:
        await owner.execute("revoke all on public.orders from authenticated")

    result, _ = await result_of(page.list_orders, database, model)

    assert result == "The tool failed."
    logged = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (crash,) = [line for line in logged if line["event"] == "tool.crashed"]
    assert crash["error"] == "InsufficientPrivilegeError"
    assert crash["at"].startswith("functions.orders.app:")
