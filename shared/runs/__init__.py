"""A run's life: admitted, executed under a lease, written to its log, followed, released."""

from shared.runs.dispatch import EVENT_TYPE
from shared.runs.live import DeadlineReached, LeaseLost, LiveRun
from shared.runs.reader import LogReader
from shared.runs.store import Leased, RunStore, RunView, Waiting
from shared.runs.worker import RunWorker
from shared.runs.writer import LogWriter

__all__ = [
    "EVENT_TYPE",
    "DeadlineReached",
    "LeaseLost",
    "Leased",
    "LiveRun",
    "LogReader",
    "LogWriter",
    "RunStore",
    "RunView",
    "RunWorker",
    "Waiting",
]
