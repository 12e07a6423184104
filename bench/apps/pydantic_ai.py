"""An agent of Pydantic AI behind its AG-UI adapter. It has no storage."""

import os

from fastapi import FastAPI, Request, Response
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.ui.ag_ui import AGUIAdapter

_model = OpenAIChatModel(
    "bench",
    provider=OpenAIProvider(
        api_key="bench", base_url=f"http://127.0.0.1:{os.environ['BENCH_MODEL_PORT']}/v1"
    ),
)
_agent = Agent(_model)
app = FastAPI()


@app.get("/health")
async def health() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


@app.post("/")
async def run(request: Request) -> Response:
    """Stream a run's AG-UI events."""
    return await AGUIAdapter.dispatch_request(request, agent=_agent)
