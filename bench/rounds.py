"""Measuring in turn, A B A B: what the machine does meanwhile, it does to all. Who fails has a reason for a figure."""

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
from bench.rows import Found, Spread
from bench.site import Site

#: One figure, or several by name.
Figures = float | Mapping[str, float]
Measure = Callable[[Site, Contender], Figures]
_T = TypeVar("_T")
_BEGAN = monotonic()
_REASON_LENGTH = 240


@dataclass(frozen=True)
class Effort:
    """How much to measure. Quick: small loads, few rounds, no peers."""

    is_quick: bool = False
    most_rounds: int = 100

    def pick(self, quick: _T, full: _T) -> _T:
        return quick if self.is_quick else full

    def rounds(self, quick: int, full: int) -> int:
        return min(self.most_rounds, self.pick(quick, full))

    def of(self, peers: Sequence[Contender] = PEERS) -> tuple[Contender, ...]:
        """The peers that take part."""
        return () if self.is_quick else tuple(peers)


def rounds(site: Site, contenders: Sequence[Contender], measure: Measure, count: int) -> Found:
    """Measure each contender in turn, and again; one that fails keeps what it had, and nobody else loses anything."""
    return attempts({each.name: partial(measure, site, each) for each in contenders}, count)


def attempts(measures: Mapping[str, Callable[[], Figures]], count: int) -> Found:
    """The same for anything with a name. Figures of several are called `<name> <figure>`."""
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
                # Whatever it is: an hour of other figures is not lost to it.
                why = reason(error)
                missing[name] = f"{where}: {why}" if nth > 1 else why
                tell(f"  {where}  {name}: could not be measured: {why}")
                continue
            named = figures if isinstance(figures, Mapping) else {"": figures}
            for figure, value in named.items():
                values[f"{name} {figure}".strip()].append(value)
            tell(f"  {where}  {name} {_told(named)}")
    return Found({name: Spread(tuple(each)) for name, each in values.items()}, missing)


def reason(error: Exception) -> str:
    """Why there is no figure, in a line for the table; what nobody expected also leaves its traceback."""
    if not isinstance(error, NotMeasured | OSError | TimeoutError):
        traceback.print_exception(error)
    said = " ".join(str(error).split()) or type(error).__name__
    return "; ".join([said[:_REASON_LENGTH], *getattr(error, "__notes__", [])])


def tell(text: str) -> None:
    """A line of progress, with the time since the bench began."""
    seconds = int(monotonic() - _BEGAN)
    sys.stderr.write(f"[{seconds // 60:02}:{seconds % 60:02}] {text}\n")
    sys.stderr.flush()


def _told(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}".strip() for name, value in figures.items())
