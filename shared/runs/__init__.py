"""A run's life: admitted, executed under a lease, written to its log, followed, released."""

from shared.runs.dispatcher import EVENT_TYPE
from shared.runs.live import LeaseLost, LiveRun, ReleaseDue
from shared.runs.reader import LogReader
from shared.runs.results import Leased, RunView, Waiting
from shared.runs.store import RunStore
from shared.runs.waiting import WaitingRuns
from shared.runs.worker import RunWorker
from shared.runs.writer import LogWriter

__all__ = [
    "EVENT_TYPE",
    "LeaseLost",
    "Leased",
    "LiveRun",
    "LogReader",
    "LogWriter",
    "ReleaseDue",
    "RunStore",
    "RunView",
    "RunWorker",
    "Waiting",
    "WaitingRuns",
]
