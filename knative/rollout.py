"""Waiting until Services are what they were asked to be, and saying how far they are."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TextIO

from knative.cluster import SERVICE, Cluster
from knative.errors import Refused
from shared.core import Json

#: The longest time between two looks.
_PAUSE_SECONDS = 0.5
#: A condition that was false for a moment (a pod that found no node yet) is no failure; `kn` waits as long.
_FALSE_SECONDS = 2.0


@dataclass(frozen=True)
class State:
    """How a Service, or a revision, stands: `ready` is None while it is on its way."""

    ready: bool | None
    said: str


def state(thing: Json, generation: int = 0, condition: str = "Ready") -> State:
    """Of a condition, as Knative sees the object since this generation; `said` is Knative's own sentence."""
    status = thing.get("status", {})
    if status.get("observedGeneration", 0) < generation:
        return State(None, "not seen by Knative yet")
    conditions = {each["type"]: each for each in status.get("conditions", ())}
    ready = conditions.get(condition, {"status": "Unknown"})
    said = ready.get("message") or ready.get("reason") or ""
    match ready["status"]:
        case "True":
            return State(True, "ready")
        case "False":
            return State(False, said or "failed")
        case _:
            return State(None, said or "waiting")


def newest(service: Json) -> str:
    """The revision made last, ready or not."""
    return str(service.get("status", {}).get("latestCreatedRevisionName") or "-")


@dataclass
class Progress:
    """A line for each Service: drawn again and again on a terminal, else whenever it says something else."""

    out: TextIO
    _drawn: dict[str, str] = field(default_factory=dict)

    def show(self, services: Mapping[str, Json], states: Mapping[str, State]) -> None:
        lines = {
            name: f"{name:<10} {newest(services[name]):<18} {each.said}"
            for name, each in states.items()
        }
        if self.out.isatty():
            self._draw(lines)
        else:
            for name, line in lines.items():
                if self._drawn.get(name) != line:
                    print(line, file=self.out, flush=True)
        self._drawn = lines

    def _draw(self, lines: Mapping[str, str]) -> None:
        up = f"\x1b[{len(self._drawn)}A" if self._drawn else ""
        # Cut, as a line that wraps would make the way up longer.
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
    """The Services, by name, once this condition is true of all of them as of these generations.

    Raises:
        Refused: one failed, with the message of its condition; or the time is over, with what each waits for.
    """
    began, pause, fine = time.monotonic(), 0.05, time.monotonic()
    while True:
        found = _current(cluster, generations)
        states = {name: state(each, generations[name], condition) for name, each in found.items()}
        progress.show(found, states)
        now = time.monotonic()
        if all(each.ready for each in states.values()):
            return found
        if not any(each.ready is False for each in states.values()):
            fine = now
        if now - fine >= _FALSE_SECONDS:
            raise Refused(_told(states, "failed"))
        if now - began >= seconds:
            raise Refused(_told(states, f"not ready after {seconds:g} s"))
        time.sleep(pause)
        pause = min(pause * 2, _PAUSE_SECONDS)


def _current(cluster: Cluster, generations: Mapping[str, int]) -> dict[str, Json]:
    found = {each["metadata"]["name"]: each for each in cluster.list(SERVICE)}
    if gone := generations.keys() - found:
        raise Refused(f"{', '.join(sorted(gone))}: deleted while they were waited for.")
    return {name: found[name] for name in sorted(generations)}


def _told(states: Mapping[str, State], why: str) -> str:
    worst = False if any(each.ready is False for each in states.values()) else None
    lines = [f"{n}: {why}: {each.said}" for n, each in states.items() if each.ready is worst]
    return "\n".join(lines)
