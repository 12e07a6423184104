"""`make dev` with the database of SUPABASE_DATABASE_URL: what it uses, and one sentence for what it refuses."""

import asyncio
import re
from collections.abc import Iterator
from itertools import dropwhile, islice
from pathlib import Path

import httpx
import jwt
import pytest

from local import CannotStart
from local.accounts import SignIn, sign_in
from local.children import Children
from local.database import Logins, postgres
from local.database.files import MIGRATIONS
from local.database.given import given_logins, is_on_loopback, with_login
from local.database.migrations import bootstrap, migrate, outdated
from local.database.own import local_logins
from local.database.postgres import Server
from local.keys import SigningKey
from local.probe import free_port
from local.stack import start_stack
from tests.fixtures.given_server import GivenServer
from tests.fixtures.place import Place
from tests.fixtures.sql import execute
from tests.fixtures.stack import outside, plan_of, stack_folder

AS_OF_AN_APP = """
update supabase_migrations.schema_migrations
   set version = '2030' || substr(version, 5), name = 'agent_' || name
"""
OF_AN_APP = """
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (
  version text primary key, statements text[], name text
);
insert into supabase_migrations.schema_migrations values ('20200101000000', '{select 1}', 'orders')
"""


@pytest.fixture
def local_server() -> Iterator[Server]:
    """A Postgres as another checkout's `make dev` leaves it, with schema agent."""
    with stack_folder() as folder, Children(folder / "logs") as children:
        server = postgres.start(children, folder / "postgres", is_safe=False)
        asyncio.run(bootstrap(server))
        asyncio.run(migrate(local_logins(server).owner))
        yield server


def logins(url: str, folder: Path, *, may_bypass: bool = False) -> tuple[Logins, str]:
    said: list[str] = []
    found = given_logins(url, folder, may_bypass=may_bypass, say=said.append)
    return found, "\n".join(said)


def refusal(url: str, folder: Path) -> str:
    """The one sentence with which a database is refused."""
    with pytest.raises(CannotStart) as refused:
        logins(url, folder)
    sentence = str(refused.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def test_a_run_is_answered_as_a_user_of_the_stack_and_of_the_project(
    given_server: GivenServer,
) -> None:
    url, project = given_server.create(), SigningKey.generate("project")
    settings = {"SUPABASE_DATABASE_URL": url, "SUPABASE_JWKS": project.public_keys}
    with outside() as (model, _), stack_folder() as folder:
        plan = plan_of(folder, model, settings)
        with start_stack(plan) as running:
            for key in (plan.keys.user, project):
                who = SignIn(f"of {key.jwk['kid']}")
                sign_in(who, running.owner_url)
                assert "RUN_FINISHED" in answer(running.gateway_url, who.token(key))
            stranger = SigningKey.generate("stranger")
            assert "unauthorized" in answer(running.gateway_url, SignIn().token(stranger))


def test_other_terminals_use_the_running_stacks_database_without_its_settings(
    given_server: GivenServer, place: Place
) -> None:
    with outside() as (model, _):
        place.environ["OPENAI_BASE_URL"] = model.url
        here = {
            "SUPABASE_DATABASE_URL": given_server.create(),
            "SUPABASE_URL": f"http://127.0.0.1:{free_port()}",
        }
        with place.dev(**here):
            said = place.run("chat", "say: hello")
            token = place.run("token").stdout.strip()
            migrated = place.run("migrate")
    assert said.stdout.strip() == "hello", said.stderr
    issuer = jwt.decode(token, options={"verify_signature": False})["iss"]
    assert issuer == f"{here['SUPABASE_URL']}/auth/v1"
    assert migrated.stdout == "Nothing to apply.\n", migrated.stderr


def answer(gateway: str, token: str) -> str:
    body = {
        "threadId": f"t{token[-8:]}",
        "runId": "r",
        "messages": [{"id": "m", "role": "user", "content": "say: hello"}],
    }
    headers = {"authorization": f"Bearer {token}"}
    return httpx.post(f"{gateway}/assistant/runs", json=body, headers=headers, timeout=30).text


def test_the_functions_get_the_login_agent_api_and_keep_its_password(
    given_server: GivenServer, tmp_path: Path
) -> None:
    url = given_server.create()
    first, said = logins(url, tmp_path)
    assert first.owner == url
    assert first.functions.startswith("postgresql://agent_api:")
    assert "agent_api got a password" in said
    assert (tmp_path / "agent_api-password").stat().st_mode & 0o777 == 0o600
    again, said = logins(url, tmp_path)
    assert again == first
    assert "got a password" not in said
    assert "log in as agent_api, not as postgres" in said


def test_a_password_that_agent_api_has_is_never_changed(
    given_server: GivenServer, tmp_path: Path
) -> None:
    url = given_server.create()
    given_server.execute("alter role agent_api login password 'its own'")
    assert "has a password that this checkout does not know" in refusal(url, tmp_path)
    own = with_login(url, "agent_api", "its%20own")
    found, said = logins(own, tmp_path)
    assert found == Logins(own, own, has_test_users=False)
    assert "agent_api may not write auth.users" in said
    with pytest.raises(CannotStart, match="may not write test users into auth"):
        sign_in(SignIn(), own)


def test_the_remedy_for_another_password_works_on_a_database_of_make_dev(
    local_server: Server, tmp_path: Path
) -> None:
    url = local_logins(local_server).owner
    (remedy,) = re.findall("`(alter role .*?)`", refusal(url, tmp_path))
    asyncio.run(execute(url, remedy))
    found, said = logins(url, tmp_path)
    assert found.functions.startswith("postgresql://agent_api:")
    assert "agent_api got a password" in said


def test_a_login_that_may_not_migrate_is_named(given_server: GivenServer) -> None:
    url = given_server.create()
    given_server.execute("alter role agent_api login password 'its own'")
    of_functions = with_login(url, "agent_api", "its%20own")
    for command in (migrate, outdated):
        with pytest.raises(CannotStart, match="agent_api may not do this"):
            asyncio.run(command(of_functions))


def test_a_stack_without_test_users_offers_no_command_that_needs_one(
    given_server: GivenServer, place: Place
) -> None:
    url = given_server.create()
    given_server.execute("alter role agent_api login password 'its own'")
    with place.dev(SUPABASE_DATABASE_URL=with_login(url, "agent_api", "its%20own")) as process:
        assert process.stdout
        after_logs = dropwhile(lambda line: not line.startswith("  logs"), process.stdout)
        assert "those of the project in SUPABASE_URL" in list(islice(after_logs, 2))[1]


def test_a_login_that_may_bypass_is_used_as_it_is(
    given_server: GivenServer, tmp_path: Path
) -> None:
    url = given_server.create()
    assert logins(url, tmp_path, may_bypass=True)[0] == Logins(url, url)
    assert not (tmp_path / "agent_api-password").exists()


def test_a_database_of_another_machine_is_not_changed(
    given_server: GivenServer, place: Place
) -> None:
    # Another name of this machine, which the check does not know as one.
    url = given_server.create().replace("@127.0.0.1:", "@127.1:")
    stopped = place.run("dev", SUPABASE_DATABASE_URL=url)
    assert stopped.returncode == 1
    assert stopped.stderr.count("\n") == 1
    assert "The login postgres of SUPABASE_DATABASE_URL bypasses row-level" in stopped.stderr
    assert "ALLOW_BYPASSRLS_LOGIN=1" in stopped.stderr
    assert not (place.folder / "agent_api-password").exists()


def test_a_login_without_rights_is_named(given_server: GivenServer, tmp_path: Path) -> None:
    url = given_server.create()
    given_server.execute("create role stranger login password 'word'")
    sentence = refusal(with_login(url, "stranger", "word"), tmp_path)
    assert "The login stranger of SUPABASE_DATABASE_URL may not give agent_api" in sentence


def test_an_unmigrated_database_gets_the_command(given_server: GivenServer, tmp_path: Path) -> None:
    sentence = refusal(given_server.create(migrated=False), tmp_path)
    assert "has no schema agent: apply its migrations with `python -m functions add-to" in sentence
    assert "if no app migrates this database, with `python -m local migrate" in sentence


def test_a_database_that_an_app_migrates_is_left_to_the_app(given_server: GivenServer) -> None:
    url = given_server.create(migrated=False)
    given_server.execute(OF_AN_APP, url)
    with pytest.raises(CannotStart) as refused:
        asyncio.run(migrate(url))
    assert "applied 20200101000000), so it must apply these" in str(refused.value)
    assert "`python -m functions add-to <its folder>`" in str(refused.value)


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("drop function agent.prune cascade", "prune"),
        ("drop table agent.weather_cache cascade", "weather_cache"),
        (
            "do $x$ begin execute replace(pg_get_functiondef('agent.act_as'::regproc), 'v_unused', 'v_any'); end $x$",
            "act_as",
        ),
    ],
)
def test_a_schema_of_another_checkout_is_named(
    given_server: GivenServer, tmp_path: Path, sql: str, name: str
) -> None:
    url = given_server.create()
    given_server.execute(sql, url)
    assert f"(agent.{name} differs)" in refusal(url, tmp_path)


def test_other_recorded_versions_are_no_difference(
    given_server: GivenServer, tmp_path: Path
) -> None:
    url = given_server.create()
    given_server.execute(AS_OF_AN_APP, url)
    logins(url, tmp_path)


def test_a_plain_postgres_is_named(given_server: GivenServer, tmp_path: Path) -> None:
    given_server.execute("create database plain")
    url = given_server.server.url("postgres", "plain")
    sentence = refusal(url, tmp_path)
    assert "is not a Supabase project's (auth.users, auth.sessions, auth.uid, auth.jwt" in sentence
    with pytest.raises(CannotStart) as refused:
        asyncio.run(migrate(url))
    assert str(refused.value) == sentence


def test_a_dropped_schema_is_made_again(given_server: GivenServer, tmp_path: Path) -> None:
    url = given_server.create()
    given_server.execute("drop schema agent cascade", url)
    assert "has no schema agent: apply its migrations with `python" in refusal(url, tmp_path)
    assert len(asyncio.run(migrate(url))) == len([*MIGRATIONS.glob("*.sql")])
    assert asyncio.run(migrate(url)) == []
    logins(url, tmp_path)


def test_an_apps_dropped_schema_is_left_to_the_app(
    given_server: GivenServer, tmp_path: Path
) -> None:
    url = given_server.create()
    given_server.execute(AS_OF_AN_APP, url)
    given_server.execute("drop schema agent cascade", url)
    with pytest.raises(CannotStart, match="dropped outside the migrations of this database's app"):
        asyncio.run(migrate(url))
    assert "Schema agent was dropped outside the migrations" in refusal(url, tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("postgresql:", "mysql:"), "SUPABASE_DATABASE_URL must begin with postgresql://."),
        (("postgres:", "postgres:canary"), "SUPABASE_DATABASE_URL is refused: the password is"),
        (("/given", "/canary"), "SUPABASE_DATABASE_URL is refused: there is no database of this"),
        (
            (r"$", "?sslmode=require"),
            "The server at the host and port of SUPABASE_DATABASE_URL does",
        ),
        ((r"127.0.0.1:\d+", "127.0.0.1:1"), "Nothing listens at the host and port of SUPABASE"),
        ((r"127.0.0.1", "canary.invalid"), "The host of SUPABASE_DATABASE_URL has no address"),
    ],
)
def test_an_address_that_leads_nowhere_stops_the_start_with_one_sentence(
    given_server: GivenServer, place: Place, change: tuple[str, str], sentence: str
) -> None:
    url = re.sub(change[0], change[1], given_server.create(migrated=False), count=1)
    stopped = place.run("dev", SUPABASE_DATABASE_URL=url)
    assert stopped.returncode == 1
    assert stopped.stderr.startswith(sentence), stopped.stderr
    assert stopped.stderr.count("\n") == 1
    assert "canary" not in stopped.stderr


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("postgresql://a:b@localhost/x", True),
        ("postgresql://a:b@[::1]:5432/x", True),
        ("postgresql://a:b@127.0.0.1,localhost/x", True),
        ("postgresql://a:b@127.0.0.1,db.example.com/x", False),
        ("postgresql://a:b@db.example.com/x", False),
        ("postgresql://a:b@/x?host=/tmp", True),
        ("postgresql://a:b@/x", False),
    ],
)
def test_only_addresses_of_this_machine_count_as_local(url: str, is_local: bool) -> None:
    assert is_on_loopback(url) is is_local


@pytest.mark.parametrize(
    "url",
    ["postgresql://a:p%40@h:1/x?y=a@b", "postgresql://h:1/x?user=a&password=b&y=a@b"],
)
def test_a_login_is_replaced_whatever_the_address_looks_like(url: str) -> None:
    assert re.match(r"postgresql://u:p@h:1/x\?", with_login(url, "u", "p"))
