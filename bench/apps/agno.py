"""Agno's AgentOS with one agent, whose sessions are in Postgres."""

import os

from agno.agent import Agent
from agno.db.postgres import AsyncPostgresDb
from agno.models.openai.like import OpenAILike
from agno.os import AgentOS

# The URL's scheme selects SQLAlchemy's driver.
_database = os.environ["BENCH_DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://", 1)
_agent = Agent(
    id="bench",
    model=OpenAILike(
        id="bench",
        api_key="bench",
        base_url=f"http://127.0.0.1:{os.environ['BENCH_MODEL_PORT']}/v1",
    ),
    db=AsyncPostgresDb(db_url=_database),
    telemetry=False,
)
app = AgentOS(agents=[_agent], telemetry=False).get_app()
