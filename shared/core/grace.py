"""The time a stopping process has. One rule for every platform: start nothing new, finish what you hold.

    SIGTERM            edges_at          release_at              ends_at
       |--- runs go on ---|--- runs leave ---|--- open turns are ---|
       |    to their end  |    between turns |    cut and released  |

On Knative the grace is longer than a run may take, so that a stop interrupts none; in a terminal it is a second.
"""

import asyncio
from collections.abc import Callable
from time import monotonic

from shared.core.settings import ProcessSettings

#: Nothing announces that all of a process's work has ended, so it is looked for this often.
_LOOK_SECONDS = 0.05
#: However short the grace is, releasing runs gets this long.
_RELEASE_SECONDS = 0.25


class Grace:
    """The clock of one stop. It does not run before `start`, and `end` makes all of it over at once.

    `handover_seconds` is the last part of `seconds`: in its first half runs are released at the end of a turn, in its
    second half wherever they are.
    """

    def __init__(self, settings: ProcessSettings) -> None:
        self.seconds = settings.stop_grace_seconds
        self.handover_seconds = min(settings.stop_handover_seconds, self.seconds)
        self.has_started = False
        self._is_over = False
        self._ends_at = float("inf")

    def start(self) -> None:
        """Start the clock; a second call changes nothing."""
        if not self.has_started:
            self.has_started = True
            self._ends_at = monotonic() + self.seconds

    def end(self) -> None:
        """End the grace now: whoever stops the process does not want to wait."""
        self.start()
        self._is_over = True

    @property
    def edges_at(self) -> float:
        """From when on runs are released at the end of a turn (`time.monotonic`)."""
        return self._ends_at - self.handover_seconds

    @property
    def release_at(self) -> float:
        """From when on runs are released wherever they are."""
        return self._ends_at - self.handover_seconds / 2

    @property
    def ends_at(self) -> float:
        """When the process must exit."""
        return self._ends_at

    @property
    def seconds_left(self) -> float:
        return 0.0 if self._is_over else max(0.0, self._ends_at - monotonic())

    @property
    def is_over(self) -> bool:
        """Whether what is still open is cut."""
        return not self.seconds_left

    @property
    def release_seconds(self) -> float:
        """What it may take to commit what was said and to give back the leases; also when the grace was ended."""
        return max(self.handover_seconds / 2, _RELEASE_SECONDS)

    async def wait(self, is_done: Callable[[], bool], *, until: float) -> bool:
        """Wait until something is done. False: the moment `until`, or the end of the grace, came first."""
        while not is_done():
            if self._is_over or monotonic() >= until:
                return False
            await asyncio.sleep(_LOOK_SECONDS)
        return True
