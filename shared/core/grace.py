"""How long a stopping process may finish its work. One rule everywhere: start nothing new, finish what is in progress.

    SIGTERM        handover_at            release_at             ends_at
       |-- runs continue --|-- runs are released --|-- open turns are --|
       |   to their end    |   between turns       |   cut, released    |

On Knative the grace is longer than a run's deadline, so a stop interrupts no run; in a terminal it is a second.
"""

import asyncio
from collections.abc import Callable
from time import monotonic

from shared.core.settings import ProcessSettings

#: How often a wait checks its condition.
_LOOK_SECONDS = 0.05
#: The least time for releasing runs, however short the grace is.
_RELEASE_SECONDS = 0.25


class Grace:
    """The clock of one stop. `start` starts it, and `end` ends it at once.

    `handover_seconds` is the last part of `seconds`: in its first half, runs are released between turns; in its second
    half, wherever they are.
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
        """End the grace now, as a second signal wants."""
        self.start()
        self._is_over = True

    @property
    def handover_at(self) -> float:
        """When runs start to be released between turns (`time.monotonic`)."""
        return self._ends_at - self.handover_seconds

    @property
    def release_at(self) -> float:
        """When the runs that are left are released in the middle of their turns."""
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
        """Whether the process must exit now."""
        return not self.seconds_left

    @property
    def release_seconds(self) -> float:
        """The limit for the last commits and for releasing leases; it also holds after `end`."""
        return max(self.handover_seconds / 2, _RELEASE_SECONDS)

    async def wait(self, is_done: Callable[[], bool], *, until: float) -> bool:
        """Wait until `is_done()`. False: the time `until` (`time.monotonic`), or the end of the grace, came first."""
        while not is_done():
            if self._is_over or monotonic() >= until:
                return False
            await asyncio.sleep(_LOOK_SECONDS)
        return True
