"""JSON log lines on stdout: one event per line, with its fields and the ids of the current request or run.

`logger.info("run.ended", extra={"events": 14})` gives `{"level": "INFO", "event": "run.ended", "function": "assistant",
"run_id": …, "events": 14, …}`. Never message text, arguments or tokens.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pythonjsonlogger.orjson import OrjsonFormatter

from shared.core import telemetry

_bound: ContextVar[dict[str, Any]] = ContextVar("bound", default={})  # noqa: B039  # never written to

logger = logging.getLogger("agent_functions")


class _Formatter(OrjsonFormatter):
    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        log_data["event"] = log_data.pop("message", "")
        # Uvicorn adds a coloured copy of its message for terminals.
        log_data.pop("color_message", None)
        return {**_bound.get(), **telemetry.ids(), **log_data}


def configure_logging(function: str, level: str) -> None:
    """Send this process's log lines to stdout as JSON, each with the function's name."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        _Formatter(
            "%(levelname)s %(name)s %(message)s",
            rename_fields={"levelname": "level", "name": "logger"},
            static_fields={"function": function},
            timestamp=True,
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    # Our own line about each request has its ids; uvicorn's would repeat it without them.
    logging.getLogger("uvicorn.access").disabled = True
    for name in ("databases", "asyncio", "httpx2", "openai", "aiohttp", "opentelemetry", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def bound(**fields: str | None) -> Iterator[None]:
    """Add fields to every line logged inside the block, and by tasks started in it."""
    token = _bound.set({**_bound.get(), **{k: v for k, v in fields.items() if v is not None}})
    try:
        yield
    finally:
        _bound.reset(token)
