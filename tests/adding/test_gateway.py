"""The gateway in an app: what an upgrade replaces, and what belongs to the app."""

import json
from pathlib import Path

import pytest

from functions.registry import listed_functions, read_list
from local.adding.app import App, CannotAdd, checkout, fingerprint
from local.adding.manifest import NAME
from local.environment import ROOT
from tests.adding.apps import add, contents, later_release, make_app, plan


@pytest.fixture
def app(tmp_path: Path) -> App:
    return make_app(tmp_path / "supabase")


@pytest.fixture
def release(tmp_path: Path) -> App:
    """A later release, which changes `cache.ts`, has a new file and lacks `sweep.ts`."""
    release = later_release(tmp_path / "release")
    (release.gateway / "cache.ts").write_text("// later\n")
    (release.gateway / "more.ts").write_text("// more\n")
    (release.gateway / "sweep.ts").unlink()
    return release


def refusal(app: App, ours: App | None = None) -> str:
    with pytest.raises(CannotAdd) as refused:
        plan(app, ours)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_whole_gateway_is_copied_without_tests(app: App) -> None:
    add(app)
    copied = {file.name: file.read_bytes() for file in app.gateway.iterdir()}
    copied.pop(NAME)
    assert copied == {file.name: file.read_bytes() for file in checkout().gateway.iterdir()}
    assert not (app.folder / "functions/tests").exists()


def test_its_routes_are_those_of_the_list(app: App) -> None:
    content = json.loads((ROOT / "functions/functions.json").read_text())
    content["functions"].insert(0, {"name": "support", "kind": "agent", "description": "Helps."})
    made = plan(app, functions=read_list(content))
    routes = made.written[app.gateway / "functions.ts"].decode()
    assert '{ name: "support", kind: "agent" }' in routes
    assert f'{{ name: "{listed_functions().agents[0]}", kind: "agent" }}' in routes


def test_an_upgrade_replaces_and_removes_what_we_shipped(app: App, release: App) -> None:
    (app.folder / "functions/hello").mkdir(parents=True)
    (app.folder / "functions/hello/index.ts").write_text("// mine\n")
    add(app)
    (app.gateway / "own.ts").write_text("// the app's\n")
    before = contents(app.folder)
    made = add(app, release)
    after = contents(app.folder)
    assert {path.name for path in made.written} == {"cache.ts", "more.ts", NAME}
    assert made.removed == [app.gateway / "sweep.ts"]
    assert {path for path in before if before[path] != after.get(path)} == {
        "functions/auth-gateway/cache.ts",
        "functions/auth-gateway/sweep.ts",
        f"functions/auth-gateway/{NAME}",
    }
    assert plan(app, release).is_empty


def test_all_edited_files_are_named_at_once(app: App, release: App) -> None:
    add(app)
    for name in ("cache.ts", "more.ts"):
        (app.gateway / name).write_text("// mine\n")
    sentence = refusal(app, release)
    assert "/cache.ts, functions/auth-gateway/more.ts were edited in the app" in sentence


@pytest.mark.parametrize("name", ["cache.ts", "sweep.ts", "more.ts"])
def test_an_edited_file_stops_an_upgrade_unless_forced(app: App, release: App, name: str) -> None:
    add(app)
    (app.gateway / name).write_text("// mine\n")
    assert f"functions/auth-gateway/{name} was edited in the app" in refusal(app, release)
    add(app, release, force=True)
    ours = release.gateway / name
    assert (app.gateway / name).exists() == ours.exists()
    assert not ours.exists() or (app.gateway / name).read_text() == ours.read_text()


def test_an_edited_file_that_we_do_not_change_stops_too(app: App) -> None:
    add(app)
    (app.gateway / "cors.ts").write_text("// mine\n")
    assert "cors.ts was edited" in refusal(app)


def test_another_function_of_that_name_is_never_replaced(app: App) -> None:
    app.gateway.mkdir(parents=True)
    (app.gateway / "index.ts").write_text("// the app's own\n")
    assert "is a function of the app's own" in refusal(app)
    with pytest.raises(CannotAdd, match="of the app's own"):
        plan(app, force=True)


def test_a_copy_made_by_hand_is_ours(app: App) -> None:
    app.gateway.mkdir(parents=True)
    for name in ("index.ts", "cors.ts"):
        (app.gateway / name).write_bytes((checkout().gateway / name).read_bytes())
    made = add(app)
    assert app.gateway / "index.ts" in made.left
    assert app.gateway / "keys.ts" in made.written


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"migrations": 1, "gateway": {}}'])
def test_a_damaged_manifest_is_refused(app: App, text: str) -> None:
    add(app)
    (app.gateway / NAME).write_text(text)
    assert f"{NAME} was damaged" in refusal(app)


@pytest.mark.parametrize("is_forced", [False, True])
@pytest.mark.parametrize("path", ["../../../elsewhere.txt", "{folder}/elsewhere.txt"])
def test_a_manifest_cannot_name_files_outside_the_gateway(
    app: App, tmp_path: Path, path: str, is_forced: bool
) -> None:
    add(app)
    elsewhere = tmp_path / "elsewhere.txt"
    elsewhere.write_text("of the user")
    manifest = json.loads((app.gateway / NAME).read_bytes())
    manifest["gateway"][path.format(folder=tmp_path)] = fingerprint(elsewhere.read_bytes())
    (app.gateway / NAME).write_text(json.dumps(manifest))
    with pytest.raises(CannotAdd, match="was damaged"):
        add(app, force=is_forced)
    assert elsewhere.exists()
