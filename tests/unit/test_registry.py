"""The list of functions: what it contains, and what is refused with one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest

from functions.registry import (
    FILE,
    NAME,
    InvalidFunctions,
    folder_of,
    listed_functions,
    read_file,
    read_list,
    variable_of,
)
from shared.http import agents

AGENT = {"name": "support", "kind": "agent", "description": "Answers questions."}


def whole(*functions: Any, **more: Any) -> dict[str, Any]:
    return {"database_clients": 200, "functions": list(functions), **more}


def test_every_folder_with_an_app_is_listed() -> None:
    folders = {path.parent.name for path in FILE.parent.glob("*/app.py")}
    assert {function.folder for function in listed_functions().functions} == folders


def test_a_list_keeps_its_order_and_knows_kinds_folders_and_variables() -> None:
    tools = {"name": "tools", "kind": "tools", "description": "Tools.", "options": {"a": 1}}
    listed = read_list(whole({**AGENT, "name": "my-agent-2"}, tools, AGENT))

    assert listed.names == ["my-agent-2", "tools", "support"]
    assert listed.agents == ["my-agent-2", "support"]
    assert [function.is_public for function in listed.functions] == [True, False, True]
    assert [function.name for function in listed.public] == ["my-agent-2", "support"]
    assert listed.functions[1].options == {"a": 1}
    assert folder_of("my-agent-2") == "my_agent_2"
    assert variable_of("my-agent-2") == "MY_AGENT_2"


def test_a_name_of_the_list_is_a_name_of_an_agent() -> None:
    assert NAME.pattern == agents.NAME.pattern


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([], "functions.json has the members"),
        ({"functions": []}, "functions.json has the members"),
        (whole(more=1), "functions.json has the members"),
        ({**whole(), "database_clients": "200"}, "database_clients is a whole number"),
        ({**whole(), "database_clients": True}, "database_clients is a whole number"),
        ({**whole(), "database_clients": 0}, "database_clients is a whole number"),
        ({**whole(), "functions": {}}, "functions is a list"),
        (whole("support"), "and nothing else: 'support'"),
        (whole({"name": "support"}), "and nothing else"),
        (whole({**AGENT, "public": True}), "and nothing else"),
        (whole({**AGENT, "name": 1}), "are texts"),
        (whole({**AGENT, "description": None}), "are texts"),
        (whole({**AGENT, "description": "One.\nTwo."}), "description of support is one line"),
        (whole({**AGENT, "options": []}), "options of support are an object"),
        (whole({**AGENT, "kind": "cron"}), "unknown kind 'cron': agent, runner, threads, tools"),
        (whole(AGENT, AGENT), "Two functions are named support"),
        # Names with one folder: `_` is in no name.
        (whole({**AGENT, "name": "a-b"}, {**AGENT, "name": "a_b"}), "'a_b' cannot be"),
        *(
            (whole({**AGENT, "name": name}), "cannot be a function's name: up to 40")
            for name in ("", "Support", "2nd", "-a", "a-", "a.b", "a b", "a\n", "é", "a" * 41)
        ),
        *(
            (whole({**AGENT, "name": name}), "because it is reserved")
            for name in ("list", "new", "auth-gateway", "gateway", "model", "postgres", "class")
        ),
    ],
)
def test_a_list_that_breaks_a_rule_is_refused_in_one_sentence(content: Any, reason: str) -> None:
    with pytest.raises(InvalidFunctions) as refused:
        read_list(content)

    message = str(refused.value)
    assert reason in message
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (json.dumps(whole(AGENT)), "lists support, but functions/support/app.py does not exist"),
        ("{", "functions.json cannot be read"),
    ],
)
def test_a_file_without_its_folders_or_without_json_is_refused(
    tmp_path: Path, text: str, reason: str
) -> None:
    file = tmp_path / "functions.json"
    with pytest.raises(InvalidFunctions, match="cannot be read"):
        listed_functions(file)
    file.write_text(text)
    with pytest.raises(InvalidFunctions, match=reason):
        listed_functions(file)


def test_a_process_that_serves_one_function_reads_a_list_of_others_without_code(
    tmp_path: Path,
) -> None:
    file = tmp_path / "functions.json"
    file.write_text(json.dumps(whole(AGENT)))

    assert read_file(file).names == ["support"]


def test_a_file_with_its_folders_is_read(tmp_path: Path) -> None:
    file = tmp_path / "functions.json"
    file.write_text(json.dumps(whole({**AGENT, "name": "my-agent"})))
    (tmp_path / "my_agent").mkdir()
    (tmp_path / "my_agent" / "app.py").touch()

    assert listed_functions(file).names == ["my-agent"]
