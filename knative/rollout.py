"""Wait until Services are ready, and show their progress."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TextIO

from knative.cluster import SERVICE, Cluster
from knative.errors import Refused
from knative.pods import Trouble, trouble_of
from shared.core import Json

#: The longest time between two polls.
_PAUSE_SECONDS = 0.5
#: A condition may be false for a moment, for example while a pod has no node yet; `kn` waits as long.
_FALSE_SECONDS = 2.0
#: A container that exited this often will exit again: its settings are wrong, or its code.
_MOST_EXITS = 2


@dataclass(frozen=True)
class State:
    """The state of a Service or a revision. `ready` is None while that is not decided."""

    ready: bool | None
    message: str


def state(thing: Json, generation: int = 0, condition: str = "Ready") -> State:
    """The state of one condition, for this generation or a later one; `message` is Knative's own."""
    if not _is_observed(thing, generation):
        return State(None, "not seen by Knative yet")
    status = thing.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions", ())}
    ready = conditions.get(condition, {"status": "Unknown"})
    message = ready.get("message") or ready.get("reason") or ""
    match ready["status"]:
        case "True":
            return State(True, "ready")
        case "False":
            return State(False, message or "failed")
        case _:
            return State(None, message or "waiting")


def _is_observed(thing: Json, generation: int) -> bool:
    return bool(thing.get("status", {}).get("observedGeneration", 0) >= generation)


def newest(service: Json) -> str:
    """The latest created revision, ready or not."""
    return str(service.get("status", {}).get("latestCreatedRevisionName") or "-")


@dataclass
class Progress:
    """A line for each Service: redrawn on a terminal, else printed when it changes."""

    out: TextIO
    _last_lines: dict[str, str] = field(default_factory=dict)

    def show(self, services: Mapping[str, Json], states: Mapping[str, State]) -> None:
        lines = {
            name: f"{name:<10} {newest(services[name]):<18} {each.message}"
            for name, each in states.items()
        }
        if self.out.isatty():
            self._draw(lines)
        else:
            for name, line in lines.items():
                if self._last_lines.get(name) != line:
                    print(line, file=self.out, flush=True)
        self._last_lines = lines

    def _draw(self, lines: Mapping[str, str]) -> None:
        up = f"\x1b[{len(self._last_lines)}A" if self._last_lines else ""
        # Cut, because a wrapped line would take two rows, and the cursor would not move up far enough.
        text = "".join(f"\x1b[2K{line[:100]}\n" for line in lines.values())
        print(up + text, end="", file=self.out, flush=True)


def wait(
    cluster: Cluster,
    generations: Mapping[str, int],
    progress: Progress,
    *,
    seconds: float,
    condition: str = "Ready",
) -> dict[str, Json]:
    """The Services by name, once this condition is true for all of them at these generations.

    Raises:
        Refused: one failed, with its condition's message, or with the last line of a container that exits again and
            again; or the time is over, with the messages of those not ready.
    """
    started_at, pause, last_fine_at = time.monotonic(), 0.05, time.monotonic()
    while True:
        current = _current(cluster, generations)
        states = {name: state(each, generations[name], condition) for name, each in current.items()}
        troubles = _troubles(cluster, current, generations, states)
        progress.show(current, states | {name: each[0] for name, each in troubles.items()})
        now = time.monotonic()
        if all(each.ready for each in states.values()):
            return current
        if not any(each.ready is False for each in states.values()):
            last_fine_at = now
        if failed := [n for n, (_, each) in troubles.items() if each.exits >= _MOST_EXITS]:
            raise Refused("\n".join(f"{name}: {troubles[name][1].text}" for name in failed))
        if now - last_fine_at >= _FALSE_SECONDS:
            raise Refused(_summary(states, "failed"))
        if now - started_at >= seconds:
            raise Refused(_summary(states, f"not ready after {seconds:g} s"))
        time.sleep(pause)
        pause = min(pause * 2, _PAUSE_SECONDS)


def _troubles(
    cluster: Cluster,
    services: Mapping[str, Json],
    generations: Mapping[str, int],
    states: Mapping[str, State],
) -> dict[str, tuple[State, Trouble]]:
    """By name, the functions whose newest revision does not run: Knative says so only after minutes."""
    return {
        name: (State(None, trouble.text), trouble)
        for name, each in states.items()
        if not each.ready
        and _is_observed(services[name], generations[name])
        and (trouble := trouble_of(cluster, name, newest(services[name])))
    }


def _current(cluster: Cluster, generations: Mapping[str, int]) -> dict[str, Json]:
    services = {each["metadata"]["name"]: each for each in cluster.list(SERVICE)}
    if missing := generations.keys() - services:
        raise Refused(f"{', '.join(sorted(missing))}: deleted while this command waited.")
    return {name: services[name] for name in sorted(generations)}


def _summary(states: Mapping[str, State], why: str) -> str:
    worst = False if any(each.ready is False for each in states.values()) else None
    lines = [f"{n}: {why}: {each.message}" for n, each in states.items() if each.ready is worst]
    return "\n".join(lines)
