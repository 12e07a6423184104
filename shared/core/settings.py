"""Every setting, its type, its range and its default, grouped by what reads it. Nothing else reads the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Self

from shared.core.environment import (
    Address,
    Count,
    Hours,
    InvalidSettings,
    Port,
    Range,
    Seconds,
    SecondsOrZero,
    read_settings,
    unreadable,
)


def _secret(prefix: str = "") -> Any:
    """A setting that no log line or traceback shows; with a prefix, all variables that begin with it."""
    if prefix:
        return field(default_factory=dict, repr=False, metadata={"prefix": prefix})
    return field(default="", repr=False)


# A group is a view of `Settings` and never made by itself, so it gets no methods: they would cost each start 4 ms.


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class ProcessSettings:
    """How a process serves, logs and stops."""

    host: str = "0.0.0.0"  # noqa: S104  # a container's only way to be reached
    port: Port = 8080
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    #: Where traces and metrics go, over OTLP/HTTP (http://collector:4318); empty: nowhere.
    otel_exporter_otlp_endpoint: Address = ""
    max_body_bytes: Annotated[int, Range(1024, 1 << 30)] = 4 * 1024 * 1024
    #: How long a stopping process may finish its work, seconds. Short, so that Ctrl-C does not hang; on a platform that
    #: waits longer before SIGKILL, set it to that.
    stop_grace_seconds: SecondsOrZero = 1.0
    #: The last part of the grace, and at most all of it, in which runs that have not ended are released and sent on,
    #: seconds.
    stop_handover_seconds: SecondsOrZero = 0.5


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class DatabaseSettings:
    """Postgres."""

    #: As the login `agent_api` (postgresql://user:password@host:port/name).
    supabase_database_url: str = _secret()
    #: Start with a login that bypasses row-level security (hosted poolers often admit only `postgres`).
    allow_bypassrls_login: bool = False
    #: Connections of this process; each pod holds as many.
    database_connections: Annotated[int, Range(1, 1000)] = 4
    #: One statement's limit, seconds.
    database_seconds: Seconds = 10.0


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class IdentitySettings:
    """Who may call, and what this function signs."""

    #: The project's address; the issuer of user tokens is `<supabase_url>/auth/v1`.
    supabase_url: Address = ""
    #: The project's public keys (JWKS text). Empty: fetched from the project.
    supabase_jwks: str = ""
    #: The legacy HS256 secret; empty refuses HS256.
    legacy_jwt_secret: str = _secret()
    #: The gateway's public keys (JWKS text).
    gateway_public_keys: str = ""
    #: Signs this function's requests to other functions (a private ES256 key as JWK text).
    internal_signing_key: str = _secret()
    #: The keys of the functions that may call this one (JWKS text).
    internal_public_keys: str = ""


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class ModelAccessSettings:
    """The model of the agent that ships, and how long it may take."""

    openai_api_key: str = _secret()
    openai_base_url: str = ""
    #: The API of OpenAI's that the model's server speaks.
    openai_api: Literal["chat_completions", "responses"] = "chat_completions"
    openai_model: str = "gpt-5-mini"
    #: Other model servers: the variables MODEL_PROVIDER_<NAME>_BASE_URL and MODEL_PROVIDER_<NAME>_API_KEY.
    model_providers: Mapping[str, str] = _secret("MODEL_PROVIDER_")
    #: What the model can read at once; older turns are cut from the history.
    model_context_tokens: Annotated[int, Range(256, 100_000_000)] = 128_000
    #: Tools that the model takes at most; OpenAI's models take 128.
    model_max_tools: Annotated[int, Range(1, 100_000)] = 128
    #: One model turn's limit, seconds.
    model_turn_seconds: Seconds = 240.0
    #: A model that sends nothing for this long has failed, seconds.
    model_silence_seconds: Seconds = 60.0
    #: How often one turn is tried, by this process or by ones that die during it, before the run fails.
    max_turn_tries: Annotated[int, Range(1, 1000)] = 3


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class ToolSettings:
    """The tools an agent calls."""

    #: The MCP endpoint of the function `tools` (http://tools.../mcp); empty: the agent has no tools of ours.
    tools_url: Address = ""
    #: Other MCP servers (JSON; docs/configuration.md).
    mcp_servers: str = ""
    #: What `${NAME}` in their headers stands for: the variables MCP_SECRET_NAME.
    mcp_secrets: Mapping[str, str] = _secret("MCP_SECRET_")
    #: The limits of one call, and of listing a server's tools, seconds.
    tool_seconds: Seconds = 30.0
    tool_list_seconds: Seconds = 10.0
    #: The age at which a list of tools is requested again, while the run that needs it uses the old one. 0: each run
    #: requests the lists anew, and waits for them.
    tool_list_fresh_seconds: SecondsOrZero = 30.0
    #: A result's limit, characters; a longer one is cut, and says so.
    tool_result_characters: Annotated[int, Range(100, 100_000_000)] = 50_000
    #: Concurrent calls of one user, in all processes together; more wait.
    tool_calls_at_once: Annotated[int, Range(1, 1000)] = 8
    #: Calls of the server's tools in one run.
    max_tool_calls: Annotated[int, Range(0, 100_000)] = 64
    #: How long an approval can be given, hours.
    approval_hours: Hours = 168.0
    #: How long an agent's function may take to make the instructions of a run, seconds.
    instructions_seconds: Seconds = 10.0


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class ToolServerSettings:
    """The function `tools`."""

    #: Host names a caller may use for it (a leading dot: and all below), and pages that may call it.
    mcp_allowed_hosts: str = "127.0.0.1,localhost,.svc.cluster.local"
    mcp_allowed_origins: str = ""
    #: The mock weather's key; empty: the real weather.
    mock_weather_tool_api_key: str = _secret()
    open_meteo_url: Address = "https://api.open-meteo.com"
    open_meteo_geocoding_url: Address = "https://geocoding-api.open-meteo.com"
    #: The credentials of its tools, by name: the variables TOOL_SECRET_NAME.
    tool_secrets: Mapping[str, str] = _secret("TOOL_SECRET_")


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class RunSettings:
    """How runs are executed, sent, limited and kept."""

    lease_seconds: Seconds = 30.0
    lease_renew_seconds: Seconds = 10.0
    #: How long a late holder may take to renew before another process takes its run, seconds.
    takeover_grace_seconds: SecondsOrZero = 1.0
    #: The group commit's period, seconds.
    tick_seconds: Seconds = 0.25
    #: A run's limit in one process, seconds; below the service's `timeoutSeconds`.
    run_deadline_seconds: Seconds = 540.0
    #: How long a runner waits for an agent's module to be imported, seconds.
    agent_load_seconds: Seconds = 20.0
    #: Runs of this process; on Knative above `containerConcurrency`, since a run outlives its request.
    max_live_runs: Count = 300
    #: How often a run may be released without closing a turn before it fails.
    max_stalled_attempts: Count = 10
    #: A run that waited longer is refused, hours.
    max_run_age_hours: Hours = 24.0
    #: A user's model tokens a day (UTC), in and out; 0: no limit.
    daily_tokens_per_user: Annotated[int, Range(0, 10**15)] = 0
    #: Where waiting runs are sent: a Broker (set by a SinkBinding), else the runner; neither: executed in place.
    k_sink: Address = ""
    runner_url: Address = ""
    #: How long ended runs keep their deltas (an hour at least), and all their events, hours.
    keep_deltas_hours: Hours = 1.0
    keep_events_hours: Hours = 720.0
    #: When deleted threads are removed for good, hours.
    keep_deleted_hours: Hours = 720.0
    #: A silent stream gets a comment this often, seconds.
    keep_alive_seconds: Seconds = 15.0
    #: `/events` ends by itself after so long (0: never).
    stream_leg_seconds: SecondsOrZero = 0.0


#: Settings of which the first must be below the second.
_BELOW: Final = (
    ("lease_renew_seconds", "lease_seconds"),
    ("tick_seconds", "lease_seconds"),
)


@dataclass(frozen=True, kw_only=True)
class Settings(
    ProcessSettings,
    DatabaseSettings,
    IdentitySettings,
    ModelAccessSettings,
    ToolSettings,
    ToolServerSettings,
    RunSettings,
):
    """All settings of a process. What needs some of them takes the group that has them."""

    @staticmethod
    def given_names() -> frozenset[str]:
        """The names of all variables of the environment, settings or not."""
        return frozenset(os.environ)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the environment (or the given one).

        Raises:
            InvalidSettings: a value is not of its setting's type, outside its range, or contradicts another.
        """
        settings = cls(**read_settings(cls, os.environ if environ is None else environ))
        settings._check_order()
        return settings

    @classmethod
    def examine(cls, environ: Mapping[str, str]) -> tuple[Self, dict[str, str]]:
        """The settings without the variables that cannot be read; and all that `from_env` refuses, by variable."""
        wrong = unreadable(cls, environ)
        readable = {name: value for name, value in environ.items() if name not in wrong}
        settings = cls(**read_settings(cls, readable))
        return settings, {**wrong, **settings._contradictions()}

    def _check_order(self) -> None:
        for sentence in self._contradictions().values():
            raise InvalidSettings(sentence)

    def _contradictions(self) -> dict[str, str]:
        return {
            lower.upper(): f"{lower.upper()} must be below {upper.upper()}."
            for lower, upper in _BELOW
            if getattr(self, lower) >= getattr(self, upper)
        }

    def require(self, *names: str) -> None:
        """Check that settings are there.

        Raises:
            InvalidSettings: naming all that are missing.
        """
        missing = [name.upper() for name in names if not getattr(self, name)]
        if missing:
            raise InvalidSettings(f"Set {', '.join(missing)}; docs/configuration.md says to what.")
