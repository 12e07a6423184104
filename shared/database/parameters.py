"""What the parameters of an address of Postgres mean here: those of libpq, and those of tools that people copy from."""

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

#: Targets that are no parameters of asyncpg: the limit of connecting, in seconds, and whether statements are prepared.
CONNECT_SECONDS: Final = "connect_seconds"
PREPARES: Final = "prepares"

_ANY: Final = r"[^\0]*"
_NUMBER: Final = r"-?[0-9]{1,9}(\.[0-9]{1,9})?"
#: Values that asyncpg does not know in lower case.
_SPELLINGS: Final = {name.lower(): name for name in ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")}
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


class Rule(NamedTuple):
    """What a parameter does.

    `target`: the name under which asyncpg gets it, or one of the targets above; None: it changes nothing here.
    `values`: a pattern of the values it may have. `must`: the same in words. `words`: values of other tools in lower
    case, and what asyncpg calls them; `*` stands for all others.
    """

    target: str | None = None
    values: str = _ANY
    must: str = "left out"
    words: Mapping[str, str] = {}

    def read(self, value: str) -> str:
        """The value as its target takes it.

        Raises:
            ValueError: the parameter may not have this value.
        """
        word = self.words.get(value.lower(), self.words.get("*", value))
        if self.values == _ANY:
            return word
        if not re.fullmatch(self.values, word, re.IGNORECASE | re.ASCII):
            raise ValueError(self.must)
        return _SPELLINGS.get(word.lower(), word.lower())


def _one_of(*words: str) -> tuple[str, str]:
    return "|".join(map(re.escape, words)), f"one of {', '.join(words)}"


def _named(target: str | None, names: str, rule: Rule | None = None) -> Iterator[tuple[str, Rule]]:
    for name in names.split():
        yield name, (rule or Rule())._replace(target=target)


def _same(names: str, rule: Rule | None = None) -> Iterator[tuple[str, Rule]]:
    """Parameters that asyncpg has under the same name."""
    for name in names.split():
        yield from _named(name, name, rule)


_MODE = Rule("sslmode", *_one_of(*_SSL_MODES), {"no-verify": "require"})
#: As libpq reads JDBC's `ssl=true`.
_SSL = _MODE._replace(
    words={
        **dict.fromkeys(
            ("true", "1", "on", "yes", "no-verify", '{"rejectunauthorized":false}'), "require"
        ),
        **dict.fromkeys(("false", "0", "off", "no"), "disable"),
    }
)
_PRISMA_SSL = _MODE._replace(words={"strict": "verify-full", "accept_invalid_certs": "require"})
_TLS = Rule(None, *_one_of(*_SPELLINGS.values()))
_SESSION = _one_of("any", "primary", "standby", "read-write", "read-only", "prefer-standby")
_TIME = Rule(None, r"[0-9]{1,9} ?(us|ms|s|min|h|d)?", "a time such as 5000 or 5s")
_SECONDS = Rule(None, _NUMBER, "a number of seconds")
#: A parameter that turns prepared statements off with one of these values.
_OFF = {"0": "no", "false": "no", "off": "no", "no": "no", "none": "no", "*": "yes"}
_MODES_WITHOUT = {"simple": "no", "simple_protocol": "no", "exec": "no", "*": "yes"}

#: All known parameters, by name in lower case. An address with another one is refused, because Postgres would refuse
#: the connection: asyncpg sends what it does not know as settings of the server.
PARAMETERS: Final[Mapping[str, Rule]] = dict(
    [
        # libpq: what asyncpg knows too.
        *_same(
            "user password passfile service krbsrvname sslcert sslkey sslrootcert sslcrl sslpassword"
        ),
        ("host", Rule("host")),
        ("port", Rule("port", r"[0-9]{1,5}(,[0-9]{1,5})*", "a port from 1 to 65535")),
        *_named("dbname", "dbname database databasename"),
        ("sslmode", _MODE),
        ("sslnegotiation", Rule("sslnegotiation", *_one_of("postgres", "direct"))),
        *_same("ssl_min_protocol_version ssl_max_protocol_version", _TLS),
        ("target_session_attrs", Rule("target_session_attrs", *_SESSION)),
        ("gsslib", Rule("gsslib", *_one_of("gssapi", "sspi"))),
        *_named(CONNECT_SECONDS, "connect_timeout connecttimeout logintimeout", _SECONDS),
        # libpq: what asyncpg cannot promise. Each may have the values that promise nothing.
        *_named(None, "channel_binding channelbinding", Rule(None, *_one_of("prefer", "disable"))),
        ("gssencmode", Rule(None, *_one_of("prefer", "disable"))),
        ("sslcertmode", Rule(None, *_one_of("allow", "disable"))),
        ("replication", Rule(None, *_one_of("false", "off", "no", "0"))),
        ("client_encoding", Rule(None, *_one_of("auto", "utf8", "utf-8", "unicode"))),
        ("encoding", Rule(None, *_one_of("utf8", "utf-8", "unicode"))),
        *_named(None, "require_auth requirepeer hostaddr sslcrldir sslidentity", Rule(None, "")),
        # libpq: what changes nothing that a function can see.
        *_named(
            None,
            "keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout sslcompression sslsni"
            " load_balance_hosts gssdelegation sslkeylogfile min_protocol_version max_protocol_version"
            " oauth_issuer oauth_client_id oauth_client_secret oauth_scope scram_client_key scram_server_key",
        ),
        # Settings of the server.
        *_named("application_name", "application_name applicationname fallback_application_name"),
        *_same("options search_path"),
        *_same("timezone", Rule(None, r"[\w/+:-]{1,64}", "the name of a time zone")),
        *_same(
            "statement_timeout lock_timeout idle_in_transaction_session_timeout idle_session_timeout"
            " transaction_timeout",
            _TIME,
        ),
        # TLS in the words of JDBC, node-postgres, SQLAlchemy and Prisma.
        ("ssl", _SSL),
        ("sslaccept", _PRISMA_SSL),
        *_named(None, "sslfactory sslfactoryarg sslhostnameverifier uselibpqcompat"),
        # Prepared statements: Prisma, JDBC, SQLAlchemy, Rails, postgres.js, psycopg, pgx, lib/pq.
        ("pgbouncer", Rule(PREPARES, words={**dict.fromkeys(_OFF, "yes"), "*": "no"})),
        *_named(
            PREPARES,
            "statement_cache_size prepared_statement_cache_size preparethreshold prepare_threshold prepare"
            " prepared_statements statement_cache_capacity preparedstatementcachequeries",
            Rule(words=_OFF),
        ),
        *_named(
            PREPARES,
            "prefer_query_mode preferquerymode default_query_exec_mode",
            Rule(words=_MODES_WITHOUT),
        ),
        # Supabase's integration with Vercel.
        *_named(None, "supa workaround"),
        # Prisma.
        *_named(
            None,
            "schema connection_limit pool_timeout socket_timeout max_connection_lifetime"
            " max_idle_connection_lifetime single_use_connections",
        ),
        # SQLAlchemy, asyncpg, Rails, Django, Ecto.
        *_named(
            None,
            "async_fallback prepared_statement_name_func command_timeout timeout pool pool_size max_overflow"
            " pool_recycle pool_pre_ping checkout_timeout reaping_frequency advisory_locks min_size max_size"
            " conn_max_age conn_health_checks",
        ),
        # node-postgres, postgres.js, pgx, lib/pq.
        *_named(
            None,
            "max min poolsize connectiontimeoutmillis idletimeoutmillis query_timeout keepalive"
            " keepaliveinitialdelaymillis binary idle_timeout max_lifetime pool_max_conns pool_min_conns"
            " pool_max_conn_lifetime pool_max_conn_lifetime_jitter pool_max_conn_idle_time"
            " pool_health_check_period description_cache_capacity binary_parameters",
        ),
        # JDBC.
        *_named(
            None,
            "currentschema tcpkeepalive tcpnodelay sockettimeout canceltimeout binarytransfer"
            " binarytransferenable binarytransferdisable rewritebatchedinserts targetservertype hostrecheckseconds"
            " loadbalancehosts stringtype autosave cleanupsavepoints defaultrowfetchsize assumeminserverversion"
            " loglevel loggerlevel loggerfile logservererrordetail unknownlength readonly readonlymode"
            " disablecolumnsanitiser preparedstatementcachesizemib databasemetadatacachefields"
            " databasemetadatacachefieldsmib receivebuffersize sendbuffersize allowencodingchanges"
            " escapesyntaxcallmode",
        ),
    ]
)
