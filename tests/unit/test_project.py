"""Whose tokens the local stack accepts."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from local import CannotStart
from local.accounts import SUPABASE_URL
from local.keys import Keys, SigningKey
from local.project import read_project

THEIRS = SigningKey.generate("project")


class _Auth(BaseHTTPRequestHandler):
    """The public keys of a project, as Supabase Auth serves them."""

    def do_GET(self) -> None:
        found = self.path == "/auth/v1/.well-known/jwks.json"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(THEIRS.public_keys.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def project() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Auth)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def read(folder: Path, **environ: str) -> tuple[str, list[str], str]:
    """The issuer's address, the ids of the keys besides the test users', and what is said."""
    said: list[str] = []
    keys = Keys.of(folder / "keys.json")
    found = read_project(environ, keys, said.append)
    ours, *theirs = [each["kid"] for each in json.loads(found.public_keys)["keys"]]
    assert ours == keys.user.jwk["kid"]
    return found.url, theirs, "\n".join(said)


def test_without_a_project_only_test_users_are_accepted(tmp_path: Path) -> None:
    assert read(tmp_path) == (SUPABASE_URL, [], "")


def test_the_keys_of_a_project_on_this_machine_are_fetched(tmp_path: Path, project: str) -> None:
    url, theirs, said = read(tmp_path, SUPABASE_URL=f"{project}/")
    assert (url, theirs) == (project, [THEIRS.jwk["kid"]])
    assert "also those of" in said


def test_given_keys_are_not_fetched(tmp_path: Path) -> None:
    url, theirs, _ = read(
        tmp_path, SUPABASE_URL="http://127.0.0.1:1", SUPABASE_JWKS=THEIRS.public_keys
    )
    assert (url, theirs) == ("http://127.0.0.1:1", [THEIRS.jwk["kid"]])


def test_a_project_that_does_not_run_is_said(tmp_path: Path) -> None:
    _, theirs, said = read(tmp_path, SUPABASE_URL="http://127.0.0.1:1")
    assert theirs == []
    assert "start that project first" in said


def test_a_port_that_speaks_no_http_has_no_keys(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            with server.accept()[0] as client:
                client.recv(65536)
                client.sendall(b"SSH-2.0-server\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        _, theirs, said = read(tmp_path, SUPABASE_URL=url)
        thread.join()
    assert theirs == []
    assert "has no keys" in said


def test_a_project_of_another_machine_is_not_accepted(tmp_path: Path) -> None:
    url, theirs, said = read(
        tmp_path, SUPABASE_URL="https://ref.supabase.co", SUPABASE_JWKS=THEIRS.public_keys
    )
    assert (url, theirs) == (SUPABASE_URL, [])
    assert "is not on this machine" in said


@pytest.mark.parametrize("text", ["canary", "[]", '{"keys": 1}'])
def test_keys_that_cannot_be_read_are_one_sentence(tmp_path: Path, text: str) -> None:
    with pytest.raises(CannotStart, match=r"^SUPABASE_JWKS is not a JWKS\.$"):
        read(tmp_path, SUPABASE_JWKS=text)
