"""JSON log lines on stdout: one event with fields a line, with the ids of what is being done.

`logger.info("run.ended", extra={"events": 14})` gives `{"level": "INFO", "event": "run.ended", "function": "agent",
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
        # Uvicorn's second copy of its line, for terminals.
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
    # One line per fact: the request line is ours, with ids.
    logging.getLogger("uvicorn.access").disabled = True
    for name in ("databases", "asyncio", "httpx2", "openai", "aiohttp", "opentelemetry", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def bound(**fields: str | None) -> Iterator[None]:
    """Put these fields on every line logged inside, tasks started inside included."""
    token = _bound.set({**_bound.get(), **{k: v for k, v in fields.items() if v is not None}})
    try:
        yield
    finally:
        _bound.reset(token)
