"""Real clients against the whole bundle, as apps use them: through the gateway, with signed tokens."""

import json
import shutil
import subprocess
import time
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from local.gateway import find_deno
from tests.fixtures.stack import Stack

CLIENTS = Path(__file__).parent / "clients"


def deno(script: str, *arguments: str) -> str:
    command = [find_deno(), "run", "--no-lock", "--quiet", "--allow-all", str(CLIENTS / script)]
    done = subprocess.run([*command, *arguments], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def http_agent(stack: Stack, scenario: str, version: str = "1.0.0") -> list[Any]:
    """Run a scenario with the official AG-UI client. Returns its reports (types, messages), in order."""
    output = deno("http_agent.ts", stack.gateway, stack.token(), scenario, version)
    return [next(iter(json.loads(line).values())) for line in output.splitlines()]


def run_input(content: str, **more: Any) -> dict[str, Any]:
    message = {"id": str(uuid4()), "role": "user", "content": content}
    return {"threadId": str(uuid4()), "runId": str(uuid4()), "messages": [message], **more}


def curl(stack: Stack, method: str, path: str, body: Any = None, *options: str) -> list[str]:
    """The curl command of a signed request."""
    data = ["--json", json.dumps(body)] if body is not None else []
    return [
        "curl",
        "--no-buffer",
        "--silent",
        "--show-error",
        *("--request", method, "--header", f"Authorization: Bearer {stack.token()}"),
        *data,
        *options,
        f"{stack.gateway}/assistant{path}",
    ]


def test_the_official_client_chats_and_keeps_the_thread(stack: Stack) -> None:
    first, _, second, messages = http_agent(stack, "chat")

    text = [
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
    ]
    assert first == ["RUN_STARTED", *text, "RUN_FINISHED"]
    assert second[-1] == "RUN_FINISHED"
    assert [m["content"] for m in messages] == ["say: Hel|lo", "Hello", "say: again", "again"]


def test_the_official_client_understands_reasoning(stack: Stack) -> None:
    _, messages = http_agent(stack, "thinking")

    assert [(m["role"], m["content"]) for m in messages[1:]] == [
        ("reasoning", "hm"),
        ("assistant", "yes"),
    ]


def test_the_official_client_answers_a_frontend_tool(stack: Stack) -> None:
    _, called, _, messages = http_agent(stack, "frontend tool")

    assert called[-1]["toolCalls"][0]["function"] == {"name": "pick", "arguments": '{"of": "sky"}'}
    assert messages[-1]["content"] == "it is blue"


def test_the_official_client_approves_a_call_and_sees_only_its_result(stack: Stack) -> None:
    interrupts, types, messages = http_agent(stack, "approval")

    assert [(a["reason"], a["message"]) for a in interrupts] == [
        ("tool_call", "May delete_note be called?")
    ]
    assert "TOOL_CALL_START" not in types
    (result,) = [m for m in messages if m["role"] == "tool"]
    assert (result["toolCallId"], result["content"]) == (
        interrupts[0]["toolCallId"],
        '{"deleted":false}',
    )
    assert messages[-1]["content"] == 'it is {"deleted":false}'


def test_the_official_client_survives_a_model_that_breaks_off(stack: Stack) -> None:
    _, messages = http_agent(stack, "broken model")

    assert [m["content"] for m in messages] == ["break: half a sen", "half a sen"]


@pytest.mark.parametrize(("version", "last"), [("1.0.0", "RUN_FINISHED"), ("0.0.59", "RUN_ERROR")])
def test_the_official_client_reads_the_end_of_a_cancelled_run(
    stack: Stack, version: str, last: str
) -> None:
    *failures, types, messages = http_agent(stack, "cancel", version)

    assert types[-1] == last
    assert messages[-1]["content"].startswith("half")
    assert not [failure for failure in failures if "Zod" in failure]


@pytest.mark.parametrize("scenario", ["chat", "thinking", "frontend tool", "approval"])
def test_the_older_client_reads_every_stream(stack: Stack, scenario: str) -> None:
    *_, types, messages = http_agent(stack, scenario, "0.0.59")

    assert types[-1] == "RUN_FINISHED"
    assert messages[-1]["role"] == "assistant"


def test_the_official_client_re_attaches_by_posting_the_same_run(stack: Stack) -> None:
    _, before, types, after = http_agent(stack, "attach again")

    assert types == ["RUN_STARTED", "MESSAGES_SNAPSHOT", "STATE_SNAPSHOT", "RUN_FINISHED"]
    assert after == before


def test_supabase_js_invokes_the_agent_and_reads_its_stream(stack: Stack) -> None:
    stream = deno("supabase_js.ts", stack.project, stack.token())

    frames = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]
    assert "".join(f.get("delta", "") for f in frames) == "fromsupabase"
    assert frames[-1]["type"] == "RUN_FINISHED"


@pytest.mark.parametrize("content", ["say: Hel|lo", "think: hm|yes", "break: will be repeated"])
def test_the_validator_finds_nothing_in_our_streams(
    stack: Stack, content: str, tmp_path: Path
) -> None:
    recorded = tmp_path / "stream.sse"
    body = run_input(content)
    subprocess.run(
        [*curl(stack, "POST", "/runs", body), "--output", recorded], check=True, timeout=60
    )

    verdict = subprocess.run(
        [Path(find_deno()).parent / "ag-ui-validate", recorded, "--json", "--max-warnings", "0"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert verdict.returncode == 0, verdict.stdout


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_shows_the_first_token_while_the_model_still_writes(stack: Stack) -> None:
    body = run_input("say: one|two|three|four")
    with subprocess.Popen(
        curl(stack, "POST", "/runs", body), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        lines = ((line, time.monotonic()) for line in process.stdout)
        times = [at for line, at in lines if "TEXT_MESSAGE_CONTENT" in line]
    assert len(times) == 4
    assert all(later - earlier > 0.05 for earlier, later in pairwise(times)), times


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_a_client_that_goes_away_can_fetch_the_rest(stack: Stack) -> None:
    body = run_input("say: one|two|three|four")
    with subprocess.Popen(
        curl(stack, "POST", "/runs", body), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        cursor = ""
        for line in process.stdout:
            if line.startswith("id: "):
                cursor = line[4:].strip()
            if "one" in line:
                break
        process.kill()

    path = f"/runs/{body['runId']}/events?after={cursor}"
    rest = subprocess.run(
        curl(stack, "GET", path), capture_output=True, text=True, timeout=60
    ).stdout

    frames = [json.loads(line[6:]) for line in rest.splitlines() if line.startswith("data: ")]
    assert [f["delta"] for f in frames if "delta" in f] == ["two", "three", "four"]
    assert frames[-1]["type"] == "RUN_FINISHED"


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_a_tool_answers_a_user_through_the_whole_bundle(stack: Stack) -> None:
    body = run_input('call: get_weather {"location": "Berlin"}')

    answer = subprocess.run(
        curl(stack, "POST", "/runs", body), capture_output=True, text=True, timeout=60
    ).stdout

    frames = [json.loads(line[6:]) for line in answer.splitlines() if line.startswith("data: ")]
    (result,) = [frame for frame in frames if frame["type"] == "TOOL_CALL_RESULT"]
    weather = json.loads(result["content"])
    assert (weather["location"], weather["source"]) == ("Berlin", "mock")
    answer = "".join(f["delta"] for f in frames if f["type"] == "TEXT_MESSAGE_CONTENT")
    assert answer == f"it is {result['content']}"


def test_two_users_do_not_see_each_others_runs_through_the_gateway(stack: Stack) -> None:
    body = run_input("say: mine")
    subprocess.run(curl(stack, "POST", "/runs", body), check=True, capture_output=True, timeout=60)
    theirs = stack.token("mallory")

    answer = subprocess.run(
        [
            "curl",
            "--silent",
            *("--header", f"Authorization: Bearer {theirs}"),
            f"{stack.gateway}/assistant/runs/{body['runId']}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert json.loads(answer.stdout)["code"] == "run_not_found"
