"""The lifecycle of runs: admission, execution under a lease, the log and its readers, release."""

from shared.runs.agents import AgentNotLoaded, ExecutableAgents, Refusal
from shared.runs.dispatcher import CLOUD_EVENT_TYPE
from shared.runs.history import with_steady_start
from shared.runs.live import LeaseLost, LiveRun, ReleaseDue
from shared.runs.reader import LogReader
from shared.runs.results import Leased, NotLeased, RunView
from shared.runs.store import RunStore
from shared.runs.waiting import WaitingRuns
from shared.runs.worker import RunWorker
from shared.runs.writer import LogWriter

__all__ = [
    "CLOUD_EVENT_TYPE",
    "AgentNotLoaded",
    "ExecutableAgents",
    "LeaseLost",
    "Leased",
    "LiveRun",
    "LogReader",
    "LogWriter",
    "NotLeased",
    "Refusal",
    "ReleaseDue",
    "RunStore",
    "RunView",
    "RunWorker",
    "WaitingRuns",
    "with_steady_start",
]
