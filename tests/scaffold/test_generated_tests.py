"""The test that `python -m functions new` writes: it holds for any agent, and fails for one that does not answer."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from functions.registry import folder_of
from local.environment import ROOT
from local.scaffold.agents import make_agent
from tests.fixtures.scaffolding import change_list

_EXAMPLE = re.compile(
    r"^```python\n(\"\"\".*?^app = agent_app\(.*?)^```$", re.MULTILINE | re.DOTALL
)
_TOOL_TEST = re.compile(r"^```python\n(from tests\..*?)^```$", re.MULTILINE | re.DOTALL)
_ELSEWHERE = """
from shared.agents import Agent, Model, mcp, shared_tools
from shared.http import agent_app

app = agent_app(
    "elsewhere",
    Agent(
        instructions="Help.",
        model=Model("large", provider="groq", api="responses", fallback=["small"]),
        tools=[mcp("github"), shared_tools()],
        approval={"delete_repository": "ask", "*": "never"},
    ),
)
"""
_BROKEN = """
from shared.agents import Agent, RunContext
from shared.http import agent_app


def instructions(run: RunContext) -> str:
    raise KeyError("city")


app = agent_app("your-agent", Agent(instructions=instructions))
"""


def run_generated_tests(checkout: Path, *names: str) -> "subprocess.CompletedProcess[str]":
    files = [f"tests/functions/test_{folder_of(name)}.py" for name in names]
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={checkout / '.pytest'}"]
    command = [sys.executable, "-m", "pytest", *options, *files]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True)


def examples() -> Iterator[str]:
    """The whole files of an agent that the pages show, to write over the one that `new` makes."""
    for page in ("README.md", "docs/agents.md", "docs/app-data.md"):
        yield from _EXAMPLE.findall((ROOT / page).read_text())


def agents_with(tool: str) -> list[str]:
    return [source for source in examples() if f"def {tool}(" in source]


def write_app(checkout: Path, name: str, source: str) -> None:
    text = re.sub(r'agent_app\(\s*"[a-z]+"', f'agent_app("{name}"', source)
    (checkout / f"functions/{folder_of(name)}/app.py").write_text(text)


def test_the_generated_test_passes_whatever_the_agent_is(checkout: Path) -> None:
    """The agent as it was made, each one that a page shows, and one of another provider."""
    change_list(checkout, lambda content: content.update(database_clients=1000))
    sources = ["", *examples(), _ELSEWHERE]
    names = [f"own-{nth}" for nth, _ in enumerate(sources)]
    for name, source in zip(names, sources, strict=True):
        make_agent(name, checkout)
        if source:
            write_app(checkout, name, source)

    done = run_generated_tests(checkout, *names)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{2 * len(names)} passed" in done.stdout
    assert len(names) == 8


def test_the_test_of_a_tool_in_the_page_passes_for_both_agents_with_that_tool(
    checkout: Path,
) -> None:
    for name, source in zip(("one", "two"), agents_with("find_order"), strict=True):
        make_agent(name, checkout)
        write_app(checkout, name, source)
        with (checkout / f"tests/functions/test_{name}.py").open("a") as file:
            file.write(_TOOL_TEST.findall((ROOT / "docs/agents.md").read_text())[0])

    done = run_generated_tests(checkout, "one", "two")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout


def test_the_generated_test_fails_for_an_agent_that_does_not_answer(checkout: Path) -> None:
    make_agent("my-agent", checkout)
    app = checkout / "functions/my_agent/app.py"
    app.write_text(_BROKEN)

    done = run_generated_tests(checkout, "my-agent")
    assert done.returncode == 1
    assert "2 failed" in done.stdout
