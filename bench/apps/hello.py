"""Bare FastAPI: the least that any function must load."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/health")
async def health() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}
