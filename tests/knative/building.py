"""The image, built without a registry, on a base made of this machine's own Python."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.environment import ROOT

_PREFIX = Path(sys.base_prefix)
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
#: The programs of Debian that the Dockerfile uses.
_PROGRAMS = ("sh", "ls", "rm", "dirname")
#: Libraries that wheels may expect on any Linux, besides those that Python itself needs.
_RUNTIMES = re.compile(r"lib(gcc_s|stdc\+\+|dl|rt|pthread|util|resolv|nss_\w+)\.so\.\d+")
_LEFT_OUT = shutil.ignore_patterns(
    "__pycache__", "site-packages", "test", "tests", "config-*", "*.a", "_tkinter.*", "_curses*"
)
_CONTEXT = ("Dockerfile", ".dockerignore", "Makefile", "pyproject.toml", "constraints.txt")
_BASE = """
FROM scratch
COPY . /
ENV PATH=/usr/local/bin:/bin
"""


@dataclass(frozen=True)
class Builder:
    """buildah, with images of its own in a folder."""

    folder: Path

    @property
    def command(self) -> list[str]:
        # `vfs` copies instead of mounting: a mount would outlive a test that is killed, and nothing could remove it.
        folders = ["--root", f"{self.folder}/images", "--runroot", f"{self.folder}/run"]
        return ["buildah", "--storage-driver", "vfs", *folders]

    def run(self, *arguments: str | Path, cwd: Path | None = None, given: str = "") -> str:
        """Run one command of buildah. Returns its output."""
        return _run(*self.command, *arguments, cwd=cwd, given=given)

    def make(self, checkout: Path, target: str, **variables: str) -> str:
        """Run a target of a checkout's Makefile with this builder."""
        given = {"BUILDER": " ".join(self.command), **variables}
        return _run("make", target, *(f"{k}={v}" for k, v in given.items()), cwd=checkout)

    @contextmanager
    def mounted(self, image: str) -> Iterator["Image"]:
        """The image, its files in a folder."""
        inspected = json.loads(self.run("inspect", "--type", "image", image))
        container = self.run("from", "--pull-never", image).strip()
        try:
            root = Path(self.run("mount", container).strip())
            yield Image(root, inspected["OCIv1"]["config"])
        finally:
            self.run("rm", container)


@dataclass(frozen=True)
class Image:
    """A built image: its root file system and its configuration."""

    root: Path
    config: dict[str, Any]

    @property
    def environ(self) -> dict[str, str]:
        return dict(each.split("=", 1) for each in self.config["Env"])

    def command(self, *arguments: str, entry: list[str] | None = None) -> list[str]:
        """The command that starts the image as a read-only container: with its user, folder and entry point."""
        entry = self.config["Entrypoint"] if entry is None else entry
        isolated = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
        inside = f'cd {self.config["WorkingDir"]} && exec "$@"'
        user = f"--userspec={self.config['User']}"
        return [
            *("unshare", "--mount", "sh", "-euc", isolated, "sh", str(self.root)),
            *("chroot", user, str(self.root), "/bin/sh", "-euc", inside, "sh"),
            *(*entry, *arguments),
        ]

    def python(self, script: str) -> str:
        """The output of a script inside the image."""
        command = self.command(entry=["python", "-c", script])
        # The loader finds `chroot` by the machine's path, and `python` by the image's.
        return _run(*command, env={**self.environ, "PATH": f"{self.environ['PATH']}:/usr/sbin"})


def make_base(builder: Builder, name: str) -> None:
    """An image with this machine's Python at /usr/local, its pip, and as little of Debian as a build needs."""
    root = builder.folder / "base"
    library = root / "usr/local/lib" / _PYTHON
    shutil.copytree(_PREFIX / "lib" / _PYTHON, library, ignore=_LEFT_OUT, symlinks=True)
    # The pip of the tests' environment: a machine's own Python may have none.
    for each in Path(sysconfig.get_path("purelib")).glob("pip*"):
        shutil.copytree(each, library / "site-packages" / each.name)
    python = _copy(_PREFIX / "bin" / _PYTHON, root / "usr/local/bin" / _PYTHON)
    for alias in ("python", "python3"):
        (python.parent / alias).symlink_to(_PYTHON)
    programs = [_which(each) for each in _PROGRAMS]
    for program in programs:
        _copy(program, root / "bin" / program.name)
    certificates = "etc/ssl/certs/ca-certificates.crt"
    _copy(Path("/") / certificates, root / certificates)
    for needed in _libraries([_PREFIX / "bin" / _PYTHON, *programs, *library.rglob("*.so")]):
        # A Python outside the loader's paths has its own libpython: copied beside the C library it is found.
        own = needed.is_relative_to(_PREFIX)
        _copy(needed, root / (f"usr/lib/{needed.name}" if own else str(needed).lstrip("/")))
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    builder.run("build", "--quiet", "--tag", name, "--file", "-", root, given=_BASE)


def checkout(folder: Path) -> Path:
    """A checkout with the files of an image, and with files that must not be in it."""
    for name in _CONTEXT:
        _copy(ROOT / name, folder / name)
    for name in ("functions", "shared"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / ".env").write_text("OPENAI_API_KEY=secret\n")
    (folder / "tests").mkdir()
    return folder


def _libraries(binaries: list[Path]) -> set[Path]:
    listed = "".join(
        subprocess.run(["ldd", each], capture_output=True, text=True).stdout for each in binaries
    )
    found = {Path(each) for each in re.findall(r"(/\S+) \(0x", listed)}
    beside = next(each.parent for each in found if each.name == "libc.so.6")
    return found | {each for each in beside.iterdir() if _RUNTIMES.fullmatch(each.name)}


def _which(program: str) -> Path:
    found = shutil.which(program)
    assert found, program
    return Path(found)


def _copy(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy2(source, target))


def _run(
    *command: str | Path,
    cwd: Path | None = None,
    given: str = "",
    env: dict[str, str] | None = None,
) -> str:
    # `chroot` needs no namespaces of its own.
    isolated = {"BUILDAH_ISOLATION": "chroot"}
    done = subprocess.run(
        command,
        cwd=cwd,
        input=given,
        env=env or {**os.environ, **isolated},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
