"""Restarts the functions whose files change, and those that are killed, while `make dev` runs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic

from functions.registry import folder_of
from local.children import Child
from local.environment import ROOT
from local.probe import answer

_PAUSE_SECONDS = 0.5
_FUNCTIONS = ROOT / "functions"

Files = Mapping[Path, int]


class Reloader:
    """Restarts a function when a file of its folder changes, and `runner` when one of any agent's folder does.

    A killed function starts again, as a platform restarts a container. A function that cannot start after a change is
    reported, and starts again with the next change.
    """

    def __init__(
        self,
        functions: Mapping[str, tuple[Child, int]],
        agents: Sequence[str],
        say: Callable[[str], None],
        root: Path = _FUNCTIONS,
    ) -> None:
        """`functions`: each one's process and port, by name."""
        self._functions = functions
        self._say = say
        self._folders = {name: [root / folder_of(name)] for name in functions}
        self._folders["runner"] += [root / folder_of(name) for name in agents]
        self._files = {name: self._read(name) for name in functions}
        self._list = root / "functions.json"
        self._listed = self._list.read_text() if self._list.exists() else ""
        self._starting: set[str] = set()
        self._restarted: set[Child] = set()
        self._next_look = 0.0

    def may_end(self, child: Child) -> bool:
        """Whether a process may end without ending the stack: a function that was killed, or was restarted once."""
        is_function = any(child is each for each, _ in self._functions.values())
        return child in self._restarted or (is_function and child.was_killed)

    def check(self) -> None:
        """Restart what has changed or was killed since the last look, and report what has started or ended since."""
        self._restart_killed()
        if monotonic() < self._next_look:
            return
        self._next_look = monotonic() + _PAUSE_SECONDS
        self._look_at_list()
        for name, (child, _) in self._functions.items():
            if (files := self._read(name)) != self._files[name]:
                self._say(f"  changed    {_changed(self._files[name], files)}: restarting {name}")
                self._files[name] = files
                self._expect_start(name)
                child.restart()
        for name in sorted(self._starting):
            self._report(name)

    def _restart_killed(self) -> None:
        for name, (child, _) in self._functions.items():
            if child.restart_if_killed():
                self._say(f"  killed     {name}: restarting it")
                self._expect_start(name)

    def _expect_start(self, name: str) -> None:
        """Report when the function is ready or has ended, which does not end the stack from now on."""
        self._restarted.add(self._functions[name][0])
        self._starting.add(name)

    def _look_at_list(self) -> None:
        # The gateway's routes and the ports follow from the list at the start.
        if self._list.exists() and (listed := self._list.read_text()) != self._listed:
            self._listed = listed
            self._say(
                f"  changed    {self._list.name}: to serve its functions, start `make dev` again"
            )

    def _report(self, name: str) -> None:
        child, port = self._functions[name]
        if child.has_ended:
            self._say(f"  stopped    {name}: {child.last_sentence()}")
            remedy = "It starts again when a file changes."
            if not self._files[name]:
                remedy = "Its files are gone; start `make dev` again, which then runs without it."
            self._say(f"             {remedy}")
        elif answer(port, "/readiness") != 200:
            return
        else:
            self._say(f"  ready      {name:<10} {child.age_ms:5.0f} ms")
        self._starting.discard(name)

    def _read(self, name: str) -> Files:
        """When each file of a function was written, in ns. A file that goes meanwhile counts as gone."""
        files: dict[Path, int] = {}
        for folder in self._folders[name]:
            for path in folder.rglob("*.py"):
                try:
                    files[path] = path.stat().st_mtime_ns
                except OSError:
                    continue
        return files


def _changed(before: Files, after: Files) -> str:
    """The first file that differs, relative to the checkout."""
    path = next(p for p in sorted({*before, *after}) if before.get(p) != after.get(p))
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
