"""Traces and metrics of runs, model turns and tool calls, named by OpenTelemetry's GenAI conventions.

The conventions are in development (github.com/open-telemetry/semantic-conventions-genai). Names that begin with
`agent.` are our own.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic, time
from typing import Any, Final
from urllib.parse import urlsplit

from shared.core.items import Usage
from shared.core.json import Json
from shared.core.telemetry import Metrics, Span, begin, carried, doing, is_exporting, measure

_OPENAI: Final = "https://api.openai.com"
_DURATION: Final = "gen_ai.client.operation.duration"
_FIRST: Final = "gen_ai.client.operation.time_to_first_chunk"
_SECONDS: Final = [0.01 * 2**n for n in range(14)]
_WAITS: Final = [0.1, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400]
_TOKENS: Final = [4**n for n in range(14)]
#: docs/operations.md explains each, and what to do about it.
METRICS: Final[Metrics] = {
    "agent.run.live": ("up_down_counter", "{run}", None),
    "agent.run.takeovers": ("counter", "{run}", None),
    "agent.run.queue.duration": ("histogram", "s", _WAITS),
    "agent.lease.losses": ("counter", "{lease}", None),
    _DURATION: ("histogram", "s", _SECONDS),
    _FIRST: ("histogram", "s", _SECONDS),
    "gen_ai.client.token.usage": ("histogram", "{token}", _TOKENS),
    "gen_ai.execute_tool.duration": ("histogram", "s", _SECONDS),
}
_REFUSAL: Final = ("status", "provider_code", "parameter")
#: Members of a stored request, for the process that claims the run later.
_TRACE, _REQUESTED_AT = "traceparent", "requested_at"


def run_origin() -> Json:
    """Members to store with a run's request, if this process exports: its trace, and when it was requested."""
    if not is_exporting():
        return {}
    return {_TRACE: carried().get("traceparent"), _REQUESTED_AT: time()}


def run_span(attributes: Json, request: Json) -> AbstractContextManager[Span]:
    """A span for one attempt at a run, in the trace of its request. Its requests to models and tools are inside."""
    known = {name: value for name, value in attributes.items() if value is not None}
    operation = {"gen_ai.operation.name": "invoke_agent"}
    return doing("invoke_agent", {**operation, **known}, link=request.get(_TRACE))


def measure_claim(attempt: int, request: Json) -> None:
    """Measure the claim of a run that waited: count it as a takeover, or, if it is the first, measure the wait."""
    if attempt > 1:
        measure("agent.run.takeovers", 1)
    elif requested_at := request.get(_REQUESTED_AT):
        measure("agent.run.queue.duration", max(0.0, time() - requested_at))


@contextmanager
def tool_call(name: str, call_id: str) -> Iterator[Span]:
    """A span around one tool call."""
    attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}
    started_at, kind = monotonic(), None
    with doing(f"execute_tool {name}", {**attributes, "gen_ai.tool.call.id": call_id}) as span:
        try:
            yield span
        except BaseException as error:
            kind = type(error).__name__
            span.fail(kind)
            raise
        finally:
            facts = {"gen_ai.tool.name": name, "error.type": kind or span.failure}
            measure("gen_ai.execute_tool.duration", monotonic() - started_at, facts)


class ModelCall:
    """A span for one model request. It has no children: its reader's work meanwhile belongs to the run."""

    def __init__(self, model: str, base_url: str) -> None:
        at = urlsplit(base_url or _OPENAI)
        self._facts: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            # Many providers speak this API; which one it is, is not known.
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": model,
            "server.address": at.hostname or "",
            "server.port": at.port or (80 if at.scheme == "http" else 443),
        }
        self._span = begin(
            f"chat {model}", {**self._facts, "gen_ai.request.stream": True}, "CLIENT"
        )
        self._started_at = monotonic()
        self._is_over = False
        #: Whether the first chunk has arrived. Without an exporter that need not be noted.
        self.has_first_chunk = not is_exporting()

    def tell(self, attributes: Json) -> None:
        """Add attributes to the span."""
        self._span.tell(attributes)

    def record_first_chunk(self) -> None:
        """Record the first chunk."""
        self.has_first_chunk = True
        seconds = monotonic() - self._started_at
        self._span.tell({"gen_ai.response.time_to_first_chunk": seconds})
        measure(_FIRST, seconds, self._facts)

    def finish(self, reason: str, usage: Usage) -> None:
        """Record the end of a whole response."""
        model = {"gen_ai.response.model": usage.model}
        counts = {"input": usage.input_tokens, "output": usage.output_tokens}
        self._span.tell(
            {
                **model,
                "gen_ai.response.finish_reasons": [reason],
                "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
                "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
                **{f"gen_ai.usage.{kind}_tokens": count for kind, count in counts.items()},
            }
        )
        for kind, count in counts.items():
            if count is not None:
                facts = {**self._facts, **model, "gen_ai.token.type": kind}
                measure("gen_ai.client.token.usage", count, facts)
        self._end(model)

    def fail(self, kind: str) -> None:
        """Record a failure, unless the response has ended."""
        if not self._is_over:
            self._span.fail(kind)
            self._end({"error.type": kind})

    def _end(self, facts: Json) -> None:
        self._is_over = True
        measure(_DURATION, monotonic() - self._started_at, {**self._facts, **facts})
        self._span.end()


@contextmanager
def model_call(model: str, base_url: str) -> Iterator[ModelCall]:
    """A span around one model request; an error inside fails it with the error's `code`."""
    call = ModelCall(model, base_url)
    try:
        yield call
    except BaseException as error:
        # What a provider says about its refusal.
        call.tell({f"agent.model.{name}": getattr(error, name, None) for name in _REFUSAL})
        call.fail(getattr(error, "code", type(error).__name__))
        raise
