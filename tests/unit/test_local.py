"""Parts of `local` that need no process."""

import json
import os
import re
import socket
import subprocess
from pathlib import Path
from unittest.mock import Mock

import jwt
import pytest

from local import CannotStart, gateway
from local.__main__ import _parser, main
from local.accounts import DEFAULT_USER, ISSUER, SignIn
from local.children import Child
from local.crashes import Crashes
from local.database.files import Statement, statements
from local.demo import Transcript
from local.environment import OWN_SETTINGS, ROOT, environment, port
from local.keys import Keys, SigningKey
from local.probe import free_port
from local.running import Running, announce, running_stack
from local.stack import continue_open_runs
from shared.doctor import misspelled

FILE = """\
-- a comment; with a semicolon
create table a (b text default 'x;''y');

create function f() returns int language sql as $body$
  select 1; /* ; */ select 2;
$body$;
;
select ";" -- the last has no semicolon
"""


def test_a_file_is_split_where_statements_end() -> None:
    found = [(s.line, s.text.splitlines()[-1]) for s in statements(FILE)]
    assert found == [
        (1, "create table a (b text default 'x;''y')"),
        (4, "$body$"),
        (8, 'select ";" -- the last has no semicolon'),
    ]


def test_a_file_of_comments_has_no_statement() -> None:
    assert list(statements("-- nothing;\n/* here; */ ;\n")) == []


def test_the_line_of_a_statement_is_where_it_begins() -> None:
    assert list(statements("\n\nselect 1;")) == [Statement("select 1", 3)]


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.generate("user")


def claims(who: SignIn, key: SigningKey) -> dict[str, object]:
    token = who.token(key)
    public = jwt.PyJWKSet.from_json(key.public_keys)[jwt.get_unverified_header(token)["kid"]]
    verified: dict[str, object] = jwt.decode(
        token, public, algorithms=["ES256"], audience="authenticated", issuer=ISSUER
    )
    return verified


def test_a_token_has_the_claims_of_supabase_auth(key: SigningKey) -> None:
    who = SignIn("ann", role="admin", seconds=60)
    found = claims(who, key)
    assert found["sub"] == str(who.sub)
    assert found["role"] == "authenticated"
    assert found["session_id"] == str(who.session_id)
    assert found["email"] == "ann@example.com"
    assert found["app_metadata"] == {"provider": "email", "role": "admin"}
    assert found["is_anonymous"] is False
    assert isinstance(found["exp"], int)
    assert isinstance(found["iat"], int)
    assert found["exp"] - found["iat"] == 60


def test_an_anonymous_user_has_no_address(key: SigningKey) -> None:
    found = claims(SignIn("guest", is_anonymous=True), key)
    assert found["is_anonymous"] is True
    assert found["email"] == ""
    assert found["app_metadata"] == {}


def test_the_same_name_is_the_same_user_in_another_session() -> None:
    first, second = SignIn("ann"), SignIn("ann")
    assert first.sub == second.sub
    assert first.session_id != second.session_id


def test_keys_are_made_once_for_their_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "new" / "keys.json"
    assert Keys.of(file) == Keys.of(file)
    assert file.stat().st_mode & 0o777 == 0o600


def test_public_keys_hold_no_private_part(key: SigningKey) -> None:
    assert '"d"' in key.private_text
    assert '"d"' not in key.public_keys


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# a comment\nexport A_KEY='x y' # why\nOTHER=\nHOME=/nowhere\n")
    found = environment(file)
    assert found["A_KEY"] == "x y"
    assert found["OTHER"] == ""
    assert found["HOME"] != "/nowhere"


def test_a_line_that_sets_nothing_is_refused_by_its_number(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("A=1\nnonsense\n")
    with pytest.raises(CannotStart, match=r"\.env:2 is no NAME=value"):
        environment(file)


def test_a_setting_with_a_slip_in_its_name_is_named() -> None:
    given = ("OPENAI_APIKEY", "openai_api_key", "OPENAI_KEY", "SUPABASE_DB_URL", "GATEWAY_PROT")
    said = misspelled(given, OWN_SETTINGS)
    assert "OPENAI_APIKEY is no setting; did you mean OPENAI_API_KEY" in said["OPENAI_APIKEY"]
    assert "SUPABASE_DATABASE_URL" in said["SUPABASE_DB_URL"]
    assert {*given} == said.keys()
    rows = re.findall(r"^\| (`[A-Z].*?) \|", (ROOT / "docs/configuration.md").read_text(), re.M)
    documented = [name for row in rows for name in re.findall(r"`([A-Z_<>]+)`", row)]
    assert "OPENAI_API_KEY" in documented
    others = ("STRIPE_KEY", "POSTGRES_HOST", "GATEWAY_HOST")
    assert misspelled([*documented, *others], OWN_SETTINGS) == {}


@pytest.mark.parametrize("text", ["0", "65536", "-1", "x"])
def test_an_invalid_port_is_refused_by_the_name_of_its_variable(text: str) -> None:
    with pytest.raises(CannotStart, match="GATEWAY_PORT"):
        port({"GATEWAY_PORT": text}, "GATEWAY_PORT", 1)


def test_a_transcript_ends_with_its_figures() -> None:
    transcript = Transcript()
    for kind in ("RUN_STARTED", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_CONTENT", "RUN_FINISHED"):
        transcript.add(kind)
    assert re.fullmatch(
        r"RUN_FINISHED in \d+ ms, 2 text events, first token \d+ ms", transcript.summary()
    )


def test_no_outgoing_connection_takes_a_free_port() -> None:
    ports = [free_port() for _ in range(50)]
    assert len({*ports}) == 50
    # IANA's dynamic ports begin at 49152 (RFC 6335), Linux's own at 32768.
    assert max(ports) < 32_768


def test_a_port_in_use_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as used:
        taken, free = used.getsockname()[1], free_port()
        monkeypatch.setattr("local.probe._candidates", iter([taken, free]))
        assert free_port() == free


def test_a_sweep_that_fails_at_the_start_is_reported() -> None:
    lines: list[str] = []

    continue_open_runs(free_port(), lines.append)

    assert lines == [
        "Open runs are not continued: runner does not respond to POST /sweep. Its log shows why."
    ]


def test_the_gateway_gets_a_functions_address_by_the_variable_that_it_reads(tmp_path: Path) -> None:
    made = gateway.settings(Keys.of(tmp_path / "keys.json"), {}, 1, {"my-agent": 2})
    assert made["FASTAPI_ORIGIN_URL_MY_AGENT"] == "http://127.0.0.1:2"


def test_a_chat_with_an_unknown_agent_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "--agent", "nobody", "hello"]) == 1
    assert "There is no agent nobody; choose one of assistant" in capsys.readouterr().err


def test_another_terminal_finds_the_running_stack(tmp_path: Path) -> None:
    ours = Running(os.getpid(), "http://gateway", "postgresql://owner", "http://project")
    with announce(tmp_path, ours):
        assert running_stack(tmp_path) == ours
        assert (tmp_path / "running.json").stat().st_mode & 0o777 == 0o600, "it has a password"
    with pytest.raises(CannotStart, match="`make dev` is not running"):
        running_stack(tmp_path)


def test_a_stack_that_was_killed_does_not_run(tmp_path: Path) -> None:
    killed = subprocess.Popen(["true"])
    killed.wait()
    with (
        announce(tmp_path, Running(killed.pid, "http://gateway", "", "")),
        pytest.raises(CannotStart, match="`make dev` is not running"),
    ):
        running_stack(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[1]"])
def test_an_announcement_that_cannot_be_read_is_of_no_stack(tmp_path: Path, text: str) -> None:
    (tmp_path / "running.json").write_text(text)
    with pytest.raises(CannotStart, match="`make dev` is not running"):
        running_stack(tmp_path)


def test_the_commands_and_the_page_start_with_the_same_user() -> None:
    page = ROOT / "local" / "page"
    (stored,) = re.findall(r'getItem\(USER_KEY\) \?\? "(\w+)"', (page / "session.js").read_text())
    first, *_ = re.findall(r"<option>(\w+)", (page / "index.html").read_text())
    chat, token = (_parser().parse_args([name]).user for name in ("chat", "token"))
    assert {stored, first, chat, token, SignIn().user} == {DEFAULT_USER}


def test_the_help_of_chat_describes_piped_input(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["chat", "--help"])
    assert "piped input, which is one message" in " ".join(capsys.readouterr().out.split())


def test_errors_in_the_logs_of_functions_are_shown_once(tmp_path: Path) -> None:
    log, said = tmp_path / "orders.log", list[str]()
    child = Mock(spec=Child, log=log)
    child.name = "orders"
    old = '{"level": "ERROR", "event": "old"}\n'
    log.write_text(old)
    crashes = Crashes([child], said.append)
    crashed = {"level": "ERROR", "event": "tool.crashed", "tool": "list_orders"}
    facts = {"error": "KeyError", "at": f"{ROOT}/functions/orders/app.py:24"}
    whole = json.dumps({**crashed, **facts})
    odd = '{"level": "ERROR", "event": "\\ud800", "error": "E", "at": 5}'
    log.write_text(f'{old}{{"level": "INFO"}}\n{"[" * 100_000}\n[1]\n{odd}\n{whole}\n{whole[:9]}')
    for _ in range(2):
        crashes.check()
    sentence = "tool.crashed of list_orders by KeyError at functions/orders/app.py:24"
    assert said.pop(0) == "  error      orders: ? by E at 5 (orders.log has more)"
    assert said == [f"  error      orders: {sentence} (orders.log has more)"]
    # The rest of the line, then the new log of a restarted process.
    with log.open("a") as rest:
        rest.write(f"{whole[9:]}\n")
    crashes.check()
    log.write_text('{"level": "ERROR", "event": "new"}\n')
    crashes.check()
    log.unlink()
    crashes.check()
    assert said[1:] == [said[0], "  error      orders: new (orders.log has more)"]
