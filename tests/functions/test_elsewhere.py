"""The page about places without Knative, followed as far as a machine without Docker and AWS can."""

import asyncio
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from functions.importing import import_app
from functions.registry import listed_functions
from local.environment import ROOT
from local.probe import free_port
from tests.doubles import ModelServer, chunk, says
from tests.fixtures.database import TestDatabase
from tests.fixtures.environment import variables
from tests.fixtures.functions import Person, run_input, settings_for
from tests.fixtures.lambda_events import function_url
from tests.fixtures.processes import until_ready

PAGE = (ROOT / "docs/elsewhere.md").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docs/compose/compose.yaml").read_text())
NGINX = (ROOT / "docs/compose/nginx.conf").read_text()
FUNCTIONS = {name: each for name, each in COMPOSE["services"].items() if name != "proxy"}
_LOOPBACK = ip_address("127.0.0.1")
#: Variables of `.env` as Compose reads them: `${NAME}`, `${NAME:-default}`, `${NAME:?error}`.
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def interpolated(text: str, values: Mapping[str, str]) -> str:
    def replace(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if kind == "-":
            return values.get(name) or rest
        assert values.get(name), f"{name} is required"
        return values[name]

    return _VARIABLE.sub(replace, text)


def test_each_function_is_a_service_and_only_the_public_ones_are_routed() -> None:
    listed = listed_functions().functions
    assert {name: each["command"] for name, each in FUNCTIONS.items()} == {
        each.name: [each.name] for each in listed
    }
    public = {each.name for each in listed if each.is_public}
    assert set(re.findall(r"^ +([a-z-]+)\.agents\.example\.com +\1:8080;$", NGINX, re.M)) == public
    assert set(COMPOSE["services"]["proxy"]["depends_on"]) == public


def env_files() -> dict[str, str]:
    """The files of settings as the page shows them, by name."""
    blocks = re.findall(r"^`([a-z]*\.env)` .*?```sh\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in blocks] == ["settings.env", "secrets.env", ".env"]
    return dict(blocks)


def names_in(file: str) -> set[str]:
    return set(re.findall(r"^([A-Z_]+)=", env_files()[file], re.MULTILINE))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_service_gets_what_its_function_requires(name: str) -> None:
    service = FUNCTIONS[name]
    from_files = set().union(*map(names_in, service["env_file"]))
    required = {each.upper() for each in import_app(name).requires}
    assert required <= service["environment"].keys() | from_files
    # What Compose sets itself wins over the files, so it must be nothing that a user sets there.
    assert not service["environment"].keys() & from_files


def test_tools_accepts_the_host_under_which_the_others_call_it() -> None:
    allowed = FUNCTIONS["tools"]["environment"]["MCP_ALLOWED_HOSTS"].split(",")
    for service in FUNCTIONS.values():
        assert httpx.URL(service["environment"]["TOOLS_URL"]).host in allowed


def test_the_page_shows_every_variable_that_compose_requires() -> None:
    text = (ROOT / "docs/compose/compose.yaml").read_text()
    required = {name for name, kind, _ in _VARIABLE.findall(text) if kind == "?"}
    assert required <= names_in(".env")


def test_only_agents_runner_and_tools_get_credentials() -> None:
    given = {name for name, each in FUNCTIONS.items() if "secrets.env" in each["env_file"]}
    assert given == {*listed_functions().agents, "runner", "tools"}


def test_the_page_continues_with_the_gateway_and_the_schedule() -> None:
    _, compose_part, lambda_part = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    for part in (compose_part, lambda_part):
        assert "deploy.md#6-the-gateway" in part
    assert "deploy.md#7-a-schedule" in compose_part


def test_a_container_is_killed_after_its_grace() -> None:
    for service in FUNCTIONS.values():
        grace = float(service["environment"]["STOP_GRACE_SECONDS"])
        assert grace < float(service["stop_grace_period"].removesuffix("s"))


@pytest.mark.skipif(
    not (shutil.which("nginx") or os.environ.get("CI") == "true"), reason="needs Debian's nginx"
)
async def test_a_stream_passes_the_proxy_event_by_event(
    database: TestDatabase, model: ModelServer, tmp_path: Path
) -> None:
    rest = asyncio.Event()
    model.will([chunk({"content": "Hel"}), rest, *says("lo")])
    async with compose(database, model, tmp_path) as (base, client):
        person = Person(client, base)
        await database.add_user(person.sub)
        async with person.stream("POST", "/runs", run_input("Hi")) as frames:
            # The model waits, so this event left the proxy before the response ended.
            assert (await frames.until("TEXT_MESSAGE_CONTENT"))["delta"] == "Hel"
            rest.set()
            assert (await frames.rest())[-1]["type"] == "RUN_FINISHED"
        encoded = await person.request("GET", "/runs/a%3Ab/events")
        assert encoded.json()["code"] == "run_not_found"
        for hidden in ("runner", "tools", "other"):
            headers = {"host": f"{hidden}.agents.example.com"}
            assert (await client.get(f"{base}/readiness", headers=headers)).status_code == 404


@asynccontextmanager
async def compose(
    database: TestDatabase, model: ModelServer, folder: Path
) -> AsyncIterator[tuple[str, httpx.AsyncClient]]:
    """`assistant` with the environment of compose.yaml, behind nginx with nginx.conf: its address and a client."""
    settings = variables(settings_for(database, model))
    dotenv = {
        **settings,
        "IMAGE": "image",
        "ASSISTANT_SIGNING_KEY": settings["INTERNAL_SIGNING_KEY"],
    }
    service = FUNCTIONS["assistant"]
    files = set().union(*map(names_in, service["env_file"]))
    given = {name: text for name, text in settings.items() if name in files} | {
        name: interpolated(text, dotenv) for name, text in service["environment"].items()
    }
    # Any other setting arrives as well; the fake model's address is one.
    given["OPENAI_BASE_URL"] = settings["OPENAI_BASE_URL"]
    # No container resolves the names of the others here, and the project's keys are fetched from nowhere.
    nowhere = {"TOOLS_URL": "", "RUNNER_URL": "", "SUPABASE_JWKS": settings["SUPABASE_JWKS"]}
    ports = {"HOST": "127.0.0.1", "PORT": str(free_port())}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "functions", "assistant"),
        env={"PATH": os.environ["PATH"], **given, **nowhere, **ports},
    )
    port = free_port()
    config = _nginx_config(folder, port, ports["PORT"])
    proxy = await asyncio.create_subprocess_exec(
        *("nginx", "-p", str(folder), "-c", str(config), "-g", "daemon off;")
    )
    try:
        headers = {"host": "assistant.agents.example.com"}
        trusted = ssl.create_default_context(cafile=folder / "tls/fullchain.pem")
        async with httpx.AsyncClient(verify=trusted, headers=headers, timeout=30) as client:
            base = f"https://127.0.0.1:{port}"
            await until_ready(process, client, base)
            yield base, client
    finally:
        for each in (proxy, process):
            each.terminate()
            await each.wait()


def _nginx_config(folder: Path, port: int, upstream: str) -> Path:
    """The page's file, with this machine's paths and ports."""
    _write_certificate(folder / "tls")
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    replaced = NGINX
    for old, new in (
        ("/etc/nginx/tls", f"{folder}/tls"),
        ("pid /tmp/nginx.pid", f"pid {folder}/nginx.pid"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("assistant:8080;", f"127.0.0.1:{upstream};"),
        ("http {\n", f"http {{\n{temporary}"),
    ):
        assert replaced.count(old) >= 1
        replaced = replaced.replace(old, new)
    config = folder / "nginx.conf"
    config.write_text(replaced)
    return config


def _write_certificate(folder: Path) -> None:
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agents.example.com")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    signed = (
        builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(_LOOPBACK)]), False)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


async def test_the_handler_of_the_page_answers_a_function_url(
    database: TestDatabase, model: ModelServer, tmp_path: Path
) -> None:
    (code,) = re.findall(r"`lambda_function.py`:\n\n```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "lambda_function.py").write_text(code)
    async with httpx.AsyncClient() as client:
        person = Person(client, "", function="threads")
    await database.add_user(person.sub)
    event = function_url("POST", "/threads", person.headers("POST", "/threads"), {"threadId": "t"})
    script = (
        "import json, sys, lambda_function\n"
        "print(json.dumps(lambda_function.handler(json.load(sys.stdin), None)))"
    )
    given = {**os.environ, **variables(settings_for(database, model))}
    finished = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", script],
        input=json.dumps(event),
        env={**given, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    answer = json.loads(finished.stdout.splitlines()[-1])
    assert (answer["statusCode"], json.loads(answer["body"])["threadId"]) == (201, "t")


def test_the_image_of_the_page_gets_what_it_copies() -> None:
    (text,) = re.findall(r"`Dockerfile.lambda`.*?```dockerfile\n(.*?)```", PAGE, re.DOTALL)
    copied = {name for line in re.findall(r"^COPY (.*)", text, re.M) for name in line.split()[:-1]}
    sent = re.findall(r"^!(.*)", (ROOT / ".dockerignore").read_text(), re.M)
    assert "lambda_function.py" in copied
    assert copied <= {*sent}
