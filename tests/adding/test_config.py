"""The gateway's block of config.toml: added or updated, with every other byte as it was."""

import re
import tomllib
from pathlib import Path

import pytest

from local.adding.app import CannotAdd, checkout
from local.adding.config import gateway_block, read_config, warnings, with_block
from tests.adding.apps import add, make_app, plan

BLOCK = gateway_block(checkout())
WANTED = tomllib.loads(BLOCK)["functions"]["auth-gateway"]
START = b'# My shop\nproject_id = "shop"\n'


def changed(folder: Path, content: bytes) -> bytes:
    return with_block(make_app(folder / "supabase", content), BLOCK)


@pytest.mark.parametrize(
    "content",
    [
        START,
        START.rstrip(b"\n"),
        START + b"\n\n\n",
        START + b"[functions.hello]\nverify_jwt = true # mine",
        b"",
        b"\xef\xbb\xbf" + START,
        START + b'note = """\n[functions.auth-gateways]\n"""\n',
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_block_is_appended_and_all_else_stays(
    tmp_path: Path, content: bytes, end: bytes
) -> None:
    content = content.replace(b"\n", end)
    result = changed(tmp_path, content)
    assert result.startswith(content)
    added = result[len(content) :]
    assert added.strip() == BLOCK.strip().encode().replace(b"\n", end if end in content else b"\n")
    parsed = tomllib.loads(result.decode("utf-8-sig"))
    assert parsed["functions"]["auth-gateway"] == WANTED


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize(
    "header", [b"[functions.auth-gateway]", b' [ functions . "auth-gateway" ] # here']
)
def test_a_block_that_is_there_gets_only_the_values_that_differ(
    tmp_path: Path, header: bytes, end: bytes
) -> None:
    lines = [
        header,
        b"enabled = true",
        b"# why",
        b'verify_jwt = true  # "checked"',
        b'static_files = ["./a"]',
        b"entrypoint = './old.ts'",
        b"",
        b"[functions.hello]",
        b"verify_jwt = true",
    ]
    result = changed(tmp_path, START.replace(b"\n", end) + end.join(lines))
    lines[3] = b'verify_jwt = false  # "checked"'
    lines[5] = b'entrypoint = "./functions/auth-gateway/index.ts"'
    lines.insert(1, b'import_map = "./functions/auth-gateway/deno.json"')
    assert result == START.replace(b"\n", end) + end.join(lines)


def test_a_header_alone_at_the_end_gets_the_values(tmp_path: Path) -> None:
    result = changed(tmp_path, START + b"[functions.auth-gateway]")
    assert tomllib.loads(result.decode())["functions"]["auth-gateway"] == WANTED


@pytest.mark.parametrize(
    "content",
    [
        BLOCK.encode() + b'static_files = ["./x"]\n',
        b"[functions]\nauth-gateway = { enabled = true, verify_jwt = false, entrypoint ="
        b' "./functions/auth-gateway/index.ts", import_map = "./functions/auth-gateway/deno.json" }',
    ],
)
def test_a_block_with_our_values_stays_in_any_form(tmp_path: Path, content: bytes) -> None:
    assert changed(tmp_path, content) == content


@pytest.mark.parametrize(
    "content",
    [
        b"functions = { hello = { verify_jwt = true } }",
        b"[functions]\nauth-gateway = { verify_jwt = true }",
        b"functions.auth-gateway.verify_jwt = true",
        b"[functions.auth-gateway]\nverify_jwt = [\n[true]]",
        b'note = """\n[functions.auth-gateway]\n"""\n',
    ],
)
def test_a_form_that_cannot_be_changed_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(CannotAdd, match=r"set enabled = true, verify_jwt = false, .* yourself"):
        changed(tmp_path, content)


@pytest.mark.parametrize("content", [b"a =", b"[a", b"\xff", b"a = 1\na = 2"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(CannotAdd, match=r"config\.toml is no TOML") as refused:
        changed(tmp_path, content)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        (b'[api]\nschemas = ["public", "agent"]', "exposes schema agent"),
        (b'[remotes.main.api]\nschemas = ["agent"]', "exposes schema agent"),
        (b"[db.migrations]\nenabled = false", "disables migrations"),
        (b'[db.migrations]\nschema_paths = ["./s.sql"]', "`supabase db diff` needs `--schema`"),
    ],
)
def test_a_setting_that_matters_is_a_warning(tmp_path: Path, content: bytes, warning: str) -> None:
    app = make_app(tmp_path / "supabase", content)
    assert [w for w in warnings(app) if warning in w] == warnings(app) != []
    assert plan(app).warnings == warnings(app)


@pytest.mark.parametrize(
    "content",
    [
        b"remotes = 1",
        b"[remotes]\nmain = 1",
        b"api = 1",
        b"[api]\nschemas = 1",
        b"db = 1",
        b"[db]\nmigrations = 1",
    ],
)
def test_a_setting_in_an_unknown_form_is_no_warning(tmp_path: Path, content: bytes) -> None:
    assert warnings(make_app(tmp_path / "supabase", content)) == []


def test_only_the_block_is_new_after_all_is_added(tmp_path: Path) -> None:
    app = make_app(tmp_path / "supabase")
    before = app.config.read_bytes()
    add(app)
    assert app.config.read_bytes() == before + b"\n" + BLOCK.encode()
    assert not re.search(r"\bexposes\b", "".join(plan(app).warnings))


@pytest.mark.parametrize("name", ["config.json", "config.jsonc"])
def test_an_app_with_settings_in_json_gets_all_but_them(tmp_path: Path, name: str) -> None:
    app = make_app(tmp_path / "supabase")
    file = app.folder / name
    file.write_bytes(b"{}")
    with pytest.raises(
        CannotAdd, match=f'^{name} lacks {{"functions": {{"auth-gateway": '
    ) as lacks:
        plan(app)
    file.write_text(str(lacks.value).removeprefix(f"{name} lacks ").partition(": add it")[0])
    add(app)
    assert plan(app).is_empty
    assert app.folder / "config.toml" not in plan(app).left, "the CLI reads only the other"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": "//x", /* no */ "b": [1, 2,], // no\n }', {"a": "//x", "b": [1, 2]}),
        ('{"a": "\\"/*", "b": 1}', {"a": '"/*', "b": 1}),
        ("[]", {}),
    ],
)
def test_comments_and_last_commas_of_jsonc_are_skipped(
    tmp_path: Path, text: str, found: object
) -> None:
    app = make_app(tmp_path / "supabase")
    (app.folder / "config.jsonc").write_text(text)
    assert read_config(app) == found


def test_a_broken_json_is_named(tmp_path: Path) -> None:
    app = make_app(tmp_path / "supabase")
    (app.folder / "config.json").write_text("{")
    with pytest.raises(CannotAdd, match=r"^config\.json is no JSON: "):
        plan(app)
