"""Measures in turn, A B A B, so that disturbances affect all alike. A failure has a reason instead of a figure."""

import sys
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TypeVar

from bench import NotMeasured
from bench.contenders import Contender
from bench.peers import PEERS
from bench.rows import Results, Spread
from bench.site import Site

#: One figure, or several by name.
Figures = float | Mapping[str, float]
Measure = Callable[[Site, Contender], Figures]
_T = TypeVar("_T")
_STARTED_AT = monotonic()
_REASON_LENGTH = 240


@dataclass(frozen=True)
class Effort:
    """How much to measure. `is_quick`: small loads, few rounds, no peers."""

    is_quick: bool = False
    most_rounds: int = 100

    def pick(self, quick: _T, full: _T) -> _T:
        return quick if self.is_quick else full

    def rounds(self, quick: int, full: int) -> int:
        return min(self.most_rounds, self.pick(quick, full))

    def of(self, peers: Sequence[Contender] = PEERS) -> tuple[Contender, ...]:
        """The peers to measure."""
        return () if self.is_quick else tuple(peers)


def rounds(site: Site, contenders: Sequence[Contender], measure: Measure, count: int) -> Results:
    """Measure the contenders in turn, `count` times. One that fails keeps its earlier figures; the others continue."""
    return attempts({each.name: partial(measure, site, each) for each in contenders}, count)


def attempts(measures: Mapping[str, Callable[[], Figures]], count: int) -> Results:
    """The same for named measures. If a measure returns several figures, they are named `<name> <figure>`."""
    values: dict[str, list[float]] = defaultdict(list)
    missing: dict[str, str] = {}
    for nth in range(1, count + 1):
        for name, measure in measures.items():
            if name in missing:
                continue
            where = f"round {nth} of {count}"
            try:
                figures = measure()
            except Exception as error:
                # Any error: the other figures must not be lost.
                text = reason(error)
                missing[name] = f"{where}: {text}" if nth > 1 else text
                progress(f"  {where}  {name}: could not be measured: {text}")
                continue
            measured = figures if isinstance(figures, Mapping) else {"": figures}
            for figure, value in measured.items():
                values[f"{name} {figure}".strip()].append(value)
            progress(f"  {where}  {name} {_format(measured)}")
    return Results({name: Spread(tuple(each)) for name, each in values.items()}, missing)


def reason(error: Exception) -> str:
    """Why there is no figure, in a line for the table. An unexpected error also prints its traceback."""
    if not isinstance(error, NotMeasured | OSError | TimeoutError):
        traceback.print_exception(error)
    text = " ".join(str(error).split()) or type(error).__name__
    return "; ".join([text[:_REASON_LENGTH], *getattr(error, "__notes__", [])])


def progress(text: str) -> None:
    """Print a line of progress, with the time since the start."""
    seconds = int(monotonic() - _STARTED_AT)
    sys.stderr.write(f"[{seconds // 60:02}:{seconds % 60:02}] {text}\n")
    sys.stderr.flush()


def _format(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}".strip() for name, value in figures.items())
