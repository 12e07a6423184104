"""The one reader of the environment: every setting, its type and its default."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, NamedTuple, Self, get_args, get_origin, get_type_hints


class InvalidSettings(Exception):
    """A setting is missing or cannot be read; the message names it and what it takes."""


class Range(NamedTuple):
    """The least and the most a number may be. What is outside of it is a slip, or would do harm."""

    least: float
    most: float


_DAY: float = 86_400
_YEAR_HOURS: float = 24 * 366
Port = Annotated[int, Range(1, 65_535)]
#: A wait that may not be zero, and one that may.
Seconds = Annotated[float, Range(0.001, _DAY)]
SecondsOrNone = Annotated[float, Range(0, _DAY)]
Hours = Annotated[float, Range(0.01, 10 * _YEAR_HOURS)]
Count = Annotated[int, Range(1, 100_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. An environment variable is the field's name in capitals; empty counts as absent."""

    #: Postgres, as the login `agent_api` (postgresql://user:password@host:port/name).
    supabase_database_url: str = field(default="", repr=False)
    #: The project's address; the issuer of user tokens is `<supabase_url>/auth/v1`.
    supabase_url: str = ""
    #: The project's public keys (JWKS text). Empty: fetched from the project.
    supabase_jwks: str = ""
    #: The legacy HS256 secret; empty refuses HS256.
    legacy_jwt_secret: str = field(default="", repr=False)
    #: The gateway's public keys (JWKS text).
    gateway_public_keys: str = ""
    #: Starts with a login that bypasses row-level security (hosted poolers often admit only `postgres`).
    allow_bypassrls_login: bool = False

    host: str = "0.0.0.0"  # noqa: S104  # a container's only way to be reached
    port: Port = 8080
    log_level: str = "INFO"
    #: Where traces and metrics go, over OTLP/HTTP (http://collector:4318); empty: nowhere.
    otel_exporter_otlp_endpoint: str = ""
    max_body_bytes: Annotated[int, Range(1024, 1 << 30)] = 4 * 1024 * 1024

    openai_api_key: str = field(default="", repr=False)
    openai_base_url: str = ""
    openai_model: str = "gpt-5-mini"
    #: What the model can read at once; older turns are cut from the history.
    model_context_tokens: Annotated[int, Range(256, 100_000_000)] = 128_000
    #: One model turn's limit, seconds.
    model_turn_seconds: Seconds = 240.0
    #: A model that sends nothing for so long is given up, seconds.
    model_silence_seconds: Seconds = 60.0
    #: How often one turn is asked, here or by processes that die over it, before the run fails.
    model_attempts: Annotated[int, Range(1, 1000)] = 3

    #: The MCP endpoint of the function `tools` (http://tools.../mcp); empty: the agent has no tools of its own.
    tools_url: str = ""
    #: Signs what this function says to others (a private ES256 key as JWK text).
    internal_signing_key: str = field(default="", repr=False)
    #: The keys of who may call this function (JWKS text).
    internal_public_keys: str = ""
    #: Names a caller may use for `tools` (a leading dot: and all below), and pages that may call it.
    mcp_allowed_hosts: str = "127.0.0.1,localhost,.svc.cluster.local"
    mcp_allowed_origins: str = ""
    #: The mock weather's key; empty: the real weather.
    mock_weather_tool_api_key: str = field(default="", repr=False)
    open_meteo_url: str = "https://api.open-meteo.com"
    open_meteo_geocoding_url: str = "https://geocoding-api.open-meteo.com"
    #: Other MCP servers (JSON; docs/configuration.md).
    mcp_servers: str = ""
    #: What `${NAME}` in their headers stands for: the variables MCP_SECRET_NAME.
    mcp_secrets: Mapping[str, str] = field(
        default_factory=dict, repr=False, metadata={"prefix": "MCP_SECRET_"}
    )
    #: The credentials of our own tools, by name: the variables TOOL_SECRET_NAME.
    tool_secrets: Mapping[str, str] = field(
        default_factory=dict, repr=False, metadata={"prefix": "TOOL_SECRET_"}
    )
    #: One call's limit, and that of asking a server for its tools, seconds.
    tool_seconds: Seconds = 30.0
    tool_list_seconds: Seconds = 10.0
    #: A result's limit, characters; what is beyond is cut, and says so.
    tool_result_characters: Annotated[int, Range(100, 100_000_000)] = 50_000
    #: Calls of one user at the same time, in all processes together; more wait.
    tool_calls_at_once: Annotated[int, Range(1, 1000)] = 8

    #: Connections of this process; each pod holds as many.
    database_connections: Annotated[int, Range(1, 1000)] = 4
    #: A statement's limit, seconds.
    database_seconds: Seconds = 10.0

    lease_seconds: Seconds = 30.0
    lease_renew_seconds: Seconds = 10.0
    #: How long a holder that is late may take to renew, before somebody else takes its run, seconds.
    takeover_grace_seconds: SecondsOrNone = 1.0
    #: The group commit's period, seconds.
    tick_seconds: Seconds = 0.25
    #: A run's limit in one process, seconds; below the service's `timeoutSeconds`.
    run_deadline_seconds: Seconds = 540.0
    #: How long a process that is told to stop may finish what it holds, seconds. Short, so that Ctrl-C does not hang;
    #: a platform that waits longer before SIGKILL is told so here.
    stop_grace_seconds: SecondsOrNone = 1.0
    #: The last part of that, in which runs that have not ended are released and sent to another process, seconds.
    stop_handover_seconds: SecondsOrNone = 0.5
    #: Runs of this process; on Knative above `containerConcurrency`, since a run goes on when its request has gone.
    max_live_runs: Count = 300
    #: How often a run is released without having closed a turn, before it fails.
    max_stalled_attempts: Count = 10
    #: A run that waited longer is refused, hours.
    max_run_age_hours: Hours = 24.0
    #: A user's model tokens a day (UTC), in and out; 0: no limit.
    daily_tokens_per_user: Annotated[int, Range(0, 10**15)] = 0
    #: Calls of the server's tools in one run.
    max_tool_calls: Annotated[int, Range(0, 100_000)] = 64
    #: How long an approval can be given, hours.
    approval_hours: Hours = 168.0
    #: Where waiting runs are sent: a Broker (set by a SinkBinding), else the runner; neither: executed in place.
    k_sink: str = ""
    runner_url: str = ""
    #: Ended runs keep their deltas so long (an hour at least), and all their events so long, hours.
    keep_deltas_hours: Hours = 1.0
    keep_events_hours: Hours = 720.0
    #: Deleted threads are removed for good after so long, hours.
    keep_deleted_hours: Hours = 720.0
    keep_alive_seconds: Seconds = 15.0
    #: `/events` ends by itself after so long (0: never).
    stream_leg_seconds: SecondsOrNone = 0.0

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the environment (or the given one).

        Raises:
            InvalidSettings: a value is not of its setting's type, or outside its range.
        """
        environ = os.environ if environ is None else environ
        kinds = get_type_hints(cls, include_extras=True)
        names = [f.name for f in fields(cls) if not f.metadata]
        given = {name: environ.get(name.upper(), "").strip() for name in names}
        level = given["log_level"].upper()
        if level and level not in _LEVELS:
            raise InvalidSettings(f"LOG_LEVEL must be one of {', '.join(_LEVELS)}.")
        read: dict[str, Any] = {n: _read(n, kinds[n], text) for n, text in given.items() if text}
        for many in (f for f in fields(cls) if f.metadata):
            read[many.name] = _below(many.metadata["prefix"], environ)
        settings = cls(**read)
        settings._check_order()
        return settings

    def _check_order(self) -> None:
        for lower, upper in _BELOW:
            if getattr(self, lower) >= getattr(self, upper):
                raise InvalidSettings(f"{lower.upper()} must be below {upper.upper()}.")

    def require(self, *names: str) -> None:
        """Check that settings are there.

        Raises:
            InvalidSettings: naming all that are missing.
        """
        missing = [name.upper() for name in names if not getattr(self, name)]
        if missing:
            raise InvalidSettings(f"Set {', '.join(missing)}; docs/configuration.md says to what.")


def _below(prefix: str, environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(prefix): value
        for name, value in environ.items()
        if name.startswith(prefix) and value
    }


#: Settings of which the first must be below the second.
_BELOW = (
    ("lease_renew_seconds", "lease_seconds"),
    ("tick_seconds", "lease_seconds"),
)
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_WORDS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def _read(name: str, kind: Any, text: str) -> object:
    """A value of that type, which may be annotated with its `Range`."""
    allowed: Range | None = None
    if get_origin(kind) is Annotated:
        kind, allowed = get_args(kind)
    try:
        value: object = _WORDS[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        raise InvalidSettings(f"{name.upper()} must be of type {kind.__name__}.") from None
    if allowed and isinstance(value, int | float) and not allowed.least <= value <= allowed.most:
        limits = f"from {allowed.least:.15g} to {allowed.most:.15g}"
        raise InvalidSettings(f"{name.upper()} must be {limits}.")
    return value
