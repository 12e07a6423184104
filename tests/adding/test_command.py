"""`python -m functions add-to`: the plan, the question, the exit codes, and that all is written or nothing."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from local.adding.app import App
from local.environment import ROOT
from local.writing import write_all
from tests.adding.apps import CONFIG, add, contents, make_app, plan

#: Root may write everything; without these capabilities its own files have rights, too.
WITH_RIGHTS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] * (os.geteuid() == 0)


@pytest.fixture
def app(tmp_path: Path) -> App:
    return make_app(tmp_path / "shop/supabase", _20250101000000_orders="create table orders ();")


def run(*arguments: object, answer: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run the command, on a terminal if there is an answer."""
    texts = [str(argument) for argument in arguments]
    command = [*WITH_RIGHTS, sys.executable, "-B", "-m", "functions", "add-to", *texts]
    terminal, stdin = pty.openpty()
    os.write(terminal, f"{answer}\n".encode())
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL if answer is None else stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )
    os.close(terminal)
    os.close(stdin)
    return done


def test_the_plan_names_every_file_and_all_that_the_migrations_change(app: App) -> None:
    done = run(app.folder, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{app.folder}\n" in done.stdout
    assert "_agent_roles.sql\n" in done.stdout
    assert "  create   functions/auth-gateway/index.ts\n" in done.stdout
    assert "  change   config.toml\n" in done.stdout
    assert "  +verify_jwt = false\n" in done.stdout
    assert "  role agent_api: " in done.stdout
    assert "supabase db push --remote" in done.stdout
    assert list(contents(app.folder)) == [
        "config.toml",
        "migrations/20250101000000_orders.sql",
    ], "a dry run writes nothing"


def test_the_plan_shows_only_the_lines_of_an_existing_block_that_change(tmp_path: Path) -> None:
    block = b"[functions.auth-gateway]\nverify_jwt = true # mine\nenabled = true\n"
    app = make_app(tmp_path / "supabase", CONFIG + block)
    done = run(app.folder, "--dry-run")
    changed = re.findall(r"^  ([+-].*)", done.stdout, re.MULTILINE)
    assert {"-verify_jwt = true # mine", "+verify_jwt = false # mine"} <= {*changed}
    assert not [line for line in changed if "enabled" in line or "schemas" in line]


def test_next_steps_come_after_the_question(app: App) -> None:
    shown = run(app.folder, answer="n").stdout
    assert "Next, in the app's folder" not in shown


def test_a_reader_of_the_plan_that_ends_early_is_no_error(app: App) -> None:
    command = [sys.executable, "-B", "-m", "functions", "add-to", str(app.folder), "--yes"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout
        assert running.stderr
        running.stdout.close()
        assert running.stderr.read() == ""
    assert running.returncode == 0
    assert plan(app).is_empty


def test_a_second_run_has_nothing_to_do_and_touches_no_file(app: App) -> None:
    written = run(app.folder, "--yes").stdout
    assert written.index("\nDone.\n") < written.index("\nNext, in the app's folder")
    before = contents(app.folder)
    again = run(app.folder.parent, "--yes")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.endswith("\nNothing to do: the app has all of it.\n")
    assert "  leave    config.toml\n" in again.stdout
    assert contents(app.folder) == before


def test_an_update_of_the_gateway_keeps_its_secrets(app: App) -> None:
    assert "supabase secrets set GATEWAY_SIGNING_KEY=" in run(app.folder, "--yes").stdout
    (app.gateway / "sweep.ts").unlink()
    update = run(app.folder, "--yes").stdout
    assert "supabase functions deploy auth-gateway" in update
    assert "secrets set" not in update


def test_an_app_that_changes_during_the_question_is_not_overwritten(app: App) -> None:
    terminal, stdin = pty.openpty()
    command = [sys.executable, "-B", "-m", "functions", "add-to", str(app.folder)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout
        assert running.stderr
        shown = b""
        while not shown.endswith(b"[y/N] "):
            shown += running.stdout.read(1) or pytest.fail("the plan ended without a question")
        app.config.write_bytes(CONFIG + b"# meanwhile\n")
        before = contents(app.folder)
        os.write(terminal, b"y\n")
        assert b"changed after the plan was shown" in running.stderr.read()
    os.close(terminal)
    os.close(stdin)
    assert running.returncode == 1
    assert contents(app.folder) == before


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("YES", 0), ("n", 1), ("", 1)])
def test_on_a_terminal_the_user_decides(app: App, answer: str, code: int) -> None:
    before = contents(app.folder)
    done = run(app.folder, answer=answer)
    assert done.returncode == code
    assert "files? [y/N]" in done.stdout
    assert (contents(app.folder) == before) == bool(code)
    assert done.stderr == ("Nothing has changed.\n" if code else "")


def test_without_a_terminal_it_needs_yes(app: App) -> None:
    before = contents(app.folder)
    done = run(app.folder)
    assert done.returncode == 1
    assert done.stderr.endswith("pass --yes. Nothing has changed.\n")
    assert contents(app.folder) == before


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("nowhere", "There is no folder "),
        (".", "supabase has a config.toml; run `supabase init`"),
        (str(ROOT), "is the folder of this checkout"),
        (str(ROOT / "supabase"), "is the folder of this checkout"),
    ],
)
def test_a_path_that_is_no_app_is_refused_in_one_sentence(
    tmp_path: Path, path: str, sentence: str
) -> None:
    done = run(tmp_path / path, "--yes")
    assert (done.returncode, done.stdout) == (1, "")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unknown_option_is_a_usage_error(app: App) -> None:
    assert run(app.folder, "--nothing").returncode == 2


@pytest.mark.parametrize("path", ["migrations", "functions", "config.toml"])
def test_a_symbolic_link_is_refused(app: App, tmp_path: Path, path: str) -> None:
    place, target = app.folder / path, tmp_path / "elsewhere"
    if place.exists():
        place.rename(target)
    else:
        target.mkdir()
    place.symlink_to(target)
    before = contents(tmp_path)
    done = run(app.folder, "--yes")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{path} is a symbolic link" in done.stderr
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("path", "mode"),
    [(".", 0o555), ("migrations", 0o555), ("config.toml", 0o444), ("config.toml", 0o000)],
)
def test_what_may_not_be_written_is_one_sentence(app: App, path: str, mode: int) -> None:
    before, place = contents(app.folder), app.folder / path
    kept = place.stat().st_mode
    place.chmod(mode)
    done = run(app.folder, "--yes")
    place.chmod(kept)
    assert done.returncode == 1
    assert "nothing has changed: [Errno 13] Permission denied" in done.stderr
    assert done.stderr.count("\n") == 1
    assert contents(app.folder) == before


@pytest.mark.parametrize("method", ["write_bytes", "replace"])
@pytest.mark.parametrize("nth", [1, 16, 34])
def test_a_failure_in_the_middle_leaves_everything_as_it_was(
    app: App, monkeypatch: pytest.MonkeyPatch, method: str, nth: int
) -> None:
    before, made, calls = contents(app.folder), plan(app), []
    original = getattr(Path, method)

    def fail_once(path: Path, argument: object) -> object:
        calls.append(path)
        if len(calls) == nth:
            raise OSError("No space left on device")
        return original(path, argument)

    monkeypatch.setattr(Path, method, fail_once)
    with pytest.raises(OSError, match="No space"):
        made.apply()
    assert contents(app.folder) == before
    assert not (app.folder / "functions").exists()


def test_a_file_that_cannot_be_removed_leaves_everything_as_it_was(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, removed = app.config, app.migrations / "20250101000000_orders.sql"
    before, unlink = contents(app.folder), Path.unlink

    def fail(path: Path, missing_ok: bool = False) -> None:
        if path == removed:
            raise OSError("Input/output error")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", fail)
    with pytest.raises(OSError, match="Input/output"):
        write_all({kept: b"new"}, [removed])
    assert contents(app.folder) == before


def test_new_folders_are_removed_again(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OSError, match="taken"):
        write_all({tmp_path / "a/b/new.txt": b"1", tmp_path / "taken/new.txt": b"2"})
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("name", [".config.toml.new", ".config.toml.old"])
def test_files_of_others_beside_a_changed_one_stay(app: App, tmp_path: Path, name: str) -> None:
    linked = tmp_path / "linked"
    linked.write_text("of the user")
    (app.folder / name).symlink_to(linked)
    add(app)
    assert linked.read_text() == "of the user"
    assert (app.folder / name).is_symlink()
    assert not app.config.is_symlink()


def test_rights_of_a_changed_file_stay(app: App) -> None:
    app.config.chmod(0o640)
    add(app)
    assert app.config.stat().st_mode & 0o777 == 0o640
    assert app.config.read_bytes().startswith(CONFIG)
