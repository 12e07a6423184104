"""The peers that install and run: other agent backends, started as their documentation describes.

Not measured, with the reasons:

* LangGraph's server: its production runtime needs Redis and a licence; the free one keeps runs in memory.
* Letta: its package is a command line now, without a server.
* LiteLLM: a proxy of models, without runs.
* open-responses-server: crashes on import with the `mcp` it installs.
* Temporal, Restate, Dapr, kagent: each needs a server or a cluster of its own.
"""

import json
from collections.abc import Callable
from urllib.parse import urlencode

from bench.contenders import JSON, Contender, app, chat, model_port, run_input
from bench.load import request
from bench.site import FOLDER, Site
from local.environment import ROOT

_APPS = ROOT / "bench" / "apps"
_WEB = ("fastapi==0.165.0", "uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0")
_OPENAI = "openai==3.57.0"


def _with_database(name: str, **more: str) -> Callable[[Site], dict[str, str]]:
    return lambda site: {**model_port(site), "BENCH_DATABASE_URL": site.database(name), **more}


def _aegra_environ(site: Site) -> dict[str, str]:
    return {
        **model_port(site),
        "DATABASE_URL": site.database("aegra"),
        "AEGRA_CONFIG": str(_APPS / "aegra.json"),
        "LOG_LEVEL": "WARNING",
    }


def _request_aegra(_: Site, prompt: str) -> bytes:
    # A run on a new thread, which is kept.
    body = {
        "assistant_id": "bench",
        "input": {"messages": [{"role": "user", "content": prompt}]},
        "stream_mode": ["messages-tuple"],
        "on_completion": "keep",
    }
    return request("POST", "/runs/stream", json.dumps(body).encode(), JSON)


def _request_agno(_: Site, prompt: str) -> bytes:
    # Without a session_id, each run has a new session.
    form = {"content-type": "application/x-www-form-urlencoded"}
    body = urlencode({"message": prompt, "stream": "true"}).encode()
    return request("POST", "/agents/bench/runs", body, form)


def _request_pydantic_ai(_: Site, prompt: str) -> bytes:
    body = run_input(prompt, state={}, tools=[], context=[], forwardedProps={})
    return request("POST", "/", body, {**JSON, "accept": "text/event-stream"})


def _request_ogx(_: Site, prompt: str) -> bytes:
    body = {"model": "vllm/bench", "input": prompt, "stream": True}
    return request("POST", "/v1/responses", json.dumps(body).encode(), JSON)


AEGRA = Contender(
    "aegra",
    "peer",
    ("aegra-api==0.11.0", "langchain-openai==1.7.4", "langgraph==1.2.24", _OPENAI, *_WEB),
    lambda port: ["-m", "bench.apps.serve", "aegra_api.main", str(port)],
    _aegra_environ,
    _request_aegra,
    ready="/ready",
    database="aegra",
    python="3.12",
    is_pinned_here=True,
)
AGNO = Contender(
    "agno",
    "peer",
    # SQLAlchemy no longer depends on greenlet.
    ("agno[os]==3.1.10", "sqlalchemy==2.1.9", "asyncpg==0.32.0", "greenlet==3.5.6", _OPENAI, *_WEB),
    app("agno"),
    _with_database("agno"),
    _request_agno,
    database="agno",
    is_pinned_here=True,
)
PYDANTIC_AI = Contender(
    "pydantic-ai",
    "peer",
    ("pydantic-ai-slim[ag-ui,openai]==2.68.0", _OPENAI, *_WEB),
    app("pydantic_ai"),
    model_port,
    _request_pydantic_ai,
    is_pinned_here=True,
)
OGX = Contender(
    "ogx",
    "peer",
    ("ogx==1.5.0", "sqlalchemy==2.1.9", "asyncpg==0.32.0", "greenlet==3.5.6", _OPENAI, *_WEB),
    lambda port: [
        *("-m", "ogx.cli.ogx", "stack", "run", str(_APPS / "ogx.yaml")),
        *("--port", str(port), "--insecure"),
    ],
    # It logs each request; JSON is its fastest format.
    _with_database(
        "ogx", BENCH_FILES=str(FOLDER / "ogx"), OGX_LOGGING="all=error", OGX_LOG_FORMAT="json"
    ),
    _request_ogx,
    ready="/v1/health",
    database="ogx",
    python="3.12",
    is_pinned_here=True,
)
# A library for durable runs, not a server.
DBOS = Contender(
    "dbos",
    "peer",
    ("dbos==3.4.0", _OPENAI, *_WEB),
    app("dbos"),
    _with_database("dbos"),
    chat,
    database="dbos",
    is_pinned_here=True,
)

PEERS: tuple[Contender, ...] = (AEGRA, AGNO, PYDANTIC_AI, OGX, DBOS)
DURABLE: tuple[Contender, ...] = tuple(peer for peer in PEERS if peer.database)
