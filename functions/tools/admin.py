"""Diagnostics of the backend, for its operator."""

from time import perf_counter

from pydantic import BaseModel, Field

from shared.agents import Denied, ToolContext, tool
from shared.database import Refused


class Diagnosis(BaseModel):
    runs: dict[str, int] = Field(description="Runs by status.")
    oldest_queued_seconds: int | None
    expired_leases: int = Field(
        description="Runs whose process died and that no other process has claimed."
    )
    tokens_today: int
    database_bytes: int
    table_bytes: dict[str, int]
    database_ms: float = Field(description="How long this query took.")


@tool(read_only=True, required_role="admin")
async def admin_diagnostics(context: ToolContext) -> Diagnosis:
    """Report the state of the backend: runs by status, the oldest queued run, tokens used today, and the database's
    latency and sizes."""
    started_at = perf_counter()
    try:
        figures = await context.database.call("diagnose", dict(context.user.claims))
    except Refused:
        # Postgres decides who is an admin.
        raise Denied("This tool is for the role admin only.") from None
    return Diagnosis(**figures, database_ms=round((perf_counter() - started_at) * 1000, 2))
