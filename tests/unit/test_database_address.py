"""SUPABASE_DATABASE_URL as people copy it: any address connects, or one sentence names the setting."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from asyncpg import connect_utils
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core.environment import InvalidSettings
from shared.database.address import Address, read_address
from shared.database.parameters import PARAMETERS

_PLAIN = "postgresql://agent_api:canary@db.example.com:5432/postgres"


def connection(address: Address) -> tuple[list[Any], Any]:
    """What asyncpg makes of an address: the places to connect to, and its other parameters."""
    names = ("user", "password", "passfile", "database", "ssl", "service", "servicefile")
    more = ("direct_tls", "server_settings", "target_session_attrs", "krbsrvname", "gsslib")
    options: Mapping[str, Any] = {"host": None, "port": None, **address.place}
    parse: Any = vars(connect_utils)["_parse_connect_dsn_and_args"]
    places, parameters = parse(**options, **dict.fromkeys((*names, *more)))
    return places, parameters


def refusal(url: str) -> str:
    with pytest.raises(InvalidSettings) as refused:
        read_address(url)
    sentence = str(refused.value)
    assert sentence.startswith("SUPABASE_DATABASE_URL ")
    assert sentence.endswith(".")
    assert sentence.count("\n") == 0
    assert "canary" not in sentence
    return sentence


@pytest.mark.parametrize(
    "scheme",
    ["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg2", "jdbc:postgresql"],
)
def test_every_scheme_of_postgres_is_read(scheme: str) -> None:
    [place], more = connection(read_address(_PLAIN.replace("postgresql", scheme, 1)))

    assert place == ("db.example.com", 5432)
    assert (more.user, more.password, more.database) == ("agent_api", "canary", "postgres")


@pytest.mark.parametrize(
    ("query", "prepares"),
    [
        ("", True),
        ("pgbouncer=true", False),
        ("pgbouncer=false", True),
        ("pgbouncer=true&connect_timeout=15&sslmode=require&supa=base-pooler.x", False),
        ("statement_cache_size=0", False),
        ("pgbouncer=true&statement_cache_size=100", False),
        ("statement_cache_size=100", True),
        ("prepared_statement_cache_size=0", False),
        ("prepareThreshold=0", False),
        ("prepared_statements=false", False),
        ("prepare=false", False),
        ("prepare_threshold=None", False),
        ("preferQueryMode=simple", False),
        ("default_query_exec_mode=simple_protocol", False),
        ("default_query_exec_mode=cache_statement", True),
    ],
)
def test_a_pooler_that_the_address_names_gets_no_prepared_statements(
    query: str, prepares: bool
) -> None:
    assert read_address(f"{_PLAIN}?{query}").prepares is prepares


@pytest.mark.parametrize(
    ("query", "seconds"),
    [("connect_timeout=3", 3), ("connectTimeout=2.5", 2.5), ("connect_timeout=0", None)],
)
def test_a_limit_of_connecting_is_honoured(query: str, seconds: float | None) -> None:
    assert read_address(f"{_PLAIN}?{query}").connect_seconds == seconds


@pytest.mark.parametrize(
    ("query", "mode"),
    [
        ("sslmode=require", "require"),
        ("sslmode=no-verify", "require"),
        ("ssl=true", "require"),
        ("ssl=false", "disable"),
        ("ssl=require", "require"),
        ("sslmode=Disable", "disable"),
        ("sslaccept=accept_invalid_certs", "require"),
    ],
)
def test_tls_is_read_in_the_words_of_every_tool(query: str, mode: str) -> None:
    _, more = connection(read_address(f"{_PLAIN}?{query}"))

    assert more.sslmode.name == mode


def test_settings_of_the_server_are_sent_and_those_of_tools_are_not() -> None:
    query = "ApplicationName=app&options=reference%3Dabc&connection_limit=1&pool_timeout=0&schema=x"
    address = read_address(f"{_PLAIN}?{query}")
    _, more = connection(address)

    assert more.server_settings == {"application_name": "app", "options": "reference=abc"}
    assert address.ignored == ["connection_limit", "pool_timeout", "schema"]


@pytest.mark.parametrize(
    ("url", "places"),
    [
        ("postgresql://a:b@h1:1,h2:2/x", [("h1", 1), ("h2", 2)]),
        ("postgresql://a:b@h1,h2/x?port=7", [("h1", 7), ("h2", 7)]),
        ("postgresql://a:b@[::1]:5433/x", [("::1", 5433)]),
        ("postgresql://a@/x?host=/var/run/pg&port=5433", ["/var/run/pg/.s.PGSQL.5433"]),
        ("postgresql://a@%2Fcloudsql%2Fp:r:i/x", ["/cloudsql/p:r:i/.s.PGSQL.5432"]),
        ("jdbc:postgresql://h/x?user=a&password=b", [("h", 5432)]),
        ('"postgresql://a:b@h/x"', [("h", 5432)]),
    ],
)
def test_hosts_ports_and_sockets_are_read(url: str, places: list[Any]) -> None:
    assert connection(read_address(url))[0] == places


@pytest.mark.parametrize("password", ["p@:/#%?&ü 1", "a%b", "p@ss@word"])
def test_a_password_may_have_any_character(password: str) -> None:
    encoded = quote(password, safe="") if set(password) & set("/#?") else password
    _, more = connection(read_address(f"postgresql://a:{encoded}@h/x"))

    assert more.password == password


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "must begin with postgresql://"),
        ("host=h user=a password=canary", "must begin with postgresql://"),
        ("canary:word@localhost:5432/x", "must begin with postgresql://"),
        ("https://canary.supabase.co", "must begin with postgresql://"),
        ("prisma+postgres://a:canary@h/x", "must begin with postgresql://"),
        ("mysql://a:canary@h/x", "must begin with postgresql://"),
        ("postgresql://a:[YOUR-PASSWORD]@h/x", "placeholder"),
        ("postgresql://a:canary/1@h/x", "encode special characters"),
        ("postgresql://a:1/canary@h/x", "encode special characters"),
        ("postgresql://a:1#canary@h/x", "encode special characters"),
        ("postgresql://a:1?canary=1@h/x", "encode special characters"),
        ("postgresql://a:canary@h:0/x", "is not a URL"),
        ("postgresql://h/x", "names no user"),
        (f"{_PLAIN}?host=%00", "is not a URL"),
        (f"{_PLAIN}?whatever=1", "unknown parameter whatever"),
        (f"{_PLAIN}?sslmode=canary", "sslmode must be one of disable, allow"),
        (f"{_PLAIN}?channel_binding=require", "channel_binding must be one of prefer, disable"),
        (f"{_PLAIN}?sslidentity=canary.p12", "sslidentity must be left out"),
        (f"{_PLAIN}?sslrootcert=/canary", "sslrootcert cannot be read"),
        (f"{_PLAIN}?sslcert=/canary", "sslcert"),
        (f"{_PLAIN}?sslnegotiation=direct", "needs sslmode=require"),
        (f"{_PLAIN}?statement_timeout=canary", "statement_timeout must be a time"),
        (f"{_PLAIN}?target_session_attrs=canary", "target_session_attrs must be one of"),
        ("postgresql://a:b@h1,h2/x?port=1,2,3", "as many ports as hosts"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(url: str, reason: str) -> None:
    assert reason in refusal(url)


def test_strict_tls_needs_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert "sslmode=verify-full needs sslrootcert" in refusal(f"{_PLAIN}?sslmode=verify-full")
    assert "needs sslrootcert" in refusal(f"{_PLAIN}?sslaccept=strict")
    _, more = connection(read_address(f"{_PLAIN}?sslrootcert=system"))
    assert more.sslmode.name == "verify_full"


_VALUES = st.sampled_from(
    [
        "",
        "0",
        "1",
        "-1",
        "15",
        "1.5",
        "true",
        "false",
        "require",
        "verify-full",
        "direct",
        "system",
        "any",
        "a,b",
    ]
) | st.text(max_size=12)
_TEXTS = st.text(max_size=12)


@given(
    scheme=st.sampled_from(
        ["postgresql", "postgres", "postgresql+asyncpg", "jdbc:postgresql", "http"]
    ),
    login=st.sampled_from(["a:b@", "a@", "", "a:[YOUR-PASSWORD]@"]) | _TEXTS,
    place=st.sampled_from(["h", "h:6543", "h:1,i:2", "[::1]:5", "", "h:x"]) | _TEXTS,
    path=st.sampled_from(["/postgres", "/", ""]) | _TEXTS,
    query=st.lists(st.tuples(st.sampled_from(sorted(PARAMETERS)) | _TEXTS, _VALUES), max_size=3),
    is_encoded=st.booleans(),
)
@example("postgresql", "a:b@", "h", "/x", [("pgbouncer", "true"), ("connect_timeout", "9")], True)
@example("postgresql", "a:b@", "h", "/x", [("ssl_min_protocol_version", "tlsv1.2")], True)
@example("postgresql", "a:b@", "h", "/x", [("port", "99999")], True)
def test_any_address_connects_or_one_sentence_names_the_setting(
    scheme: str, login: str, place: str, path: str, query: list[tuple[str, str]], is_encoded: bool
) -> None:
    encode = (lambda text: quote(text, safe="")) if is_encoded else str
    url = f"{scheme}://{login}{place}{path}?{'&'.join(f'{name}={encode(value)}' for name, value in query)}"
    try:
        address = read_address(url)
    except InvalidSettings as refused:
        sentence = str(refused)
        assert sentence.startswith("SUPABASE_DATABASE_URL "), sentence
        assert sentence.count("\n") == 0, sentence
        return
    places, _ = connection(address)
    assert places
