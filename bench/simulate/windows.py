"""Averages and maxima over time, as Knative's autoscaler computes them."""

import math
from collections import deque


class Average:
    """The average of what was recorded in each second of a window: the algorithm `linear`, Knative's default.

    `TimedFloat64Buckets` in pkg/autoscaler/aggregation/bucketing.go. Seconds before the first record, or after the last
    one, do not count; gaps between two records count as zero.
    """

    def __init__(self, window: float) -> None:
        self._size = math.ceil(window)
        self._buckets: deque[float] = deque([0.0] * self._size, maxlen=self._size)
        self._first = self._last = -math.inf

    def record(self, now: float, value: float) -> None:
        """Add a value to its second."""
        second = math.floor(now)
        if second - self._last >= self._size:
            self._first = self._last = second
            self._buckets.extend([0.0] * self._size)
        while self._last < second:
            self._last += 1
            self._buckets.append(0.0)
        self._buckets[-1] += value

    def is_empty(self, now: float) -> bool:
        """Whether nothing was recorded for a window."""
        return math.floor(now) - self._last > self._size

    def average(self, now: float) -> float:
        """Over the seconds of the window that count."""
        silent = math.floor(now) - self._last
        if silent >= self._size:
            return 0.0
        kept = list(self._buckets)[int(max(silent, 0)) :]
        count = min(self._last - self._first + 1, len(kept))
        return math.floor(sum(kept) / count * 1e6) / 1e6


class WeightedAverage(Average):
    """The newer, the more it counts: the algorithm `weighted-exponential`, `WeightedFloat64Buckets` in the same file.

    A second's weight is a constant part of the next one's: the part that gives all weights of a window a sum of 0.9999,
    but at most 0.8. So it decays over some 20 seconds, however long the window is.
    """

    def average(self, now: float) -> float:
        """Weighted; a window without a full sum of weights is not corrected."""
        silent = max(math.floor(now) - self._last, 0)
        if silent > self._size:
            return 0.0
        newest = max(1 - math.pow(1 - 0.9999, 1 / self._size), 0.2)
        kept = list(self._buckets)[int(silent) :]
        weights = (newest * math.pow(1 - newest, silent + age) for age in range(len(kept)))
        return sum(weight * value for weight, value in zip(weights, reversed(kept), strict=True))


class Maximum:
    """The most that was recorded within a delay: `TimeWindow` in pkg/autoscaler/aggregation/max/timewindow.go."""

    def __init__(self, delay: float, tick: float) -> None:
        self._ticks = math.ceil(delay / tick)
        self._tick = tick
        self._falling: deque[tuple[int, int]] = deque()

    def record(self, now: float, value: int) -> int:
        """Record a value. Returns the maximum, which includes it."""
        index = int(now // self._tick)
        while self._falling and self._falling[-1][1] <= value:
            self._falling.pop()
        while self._falling and index - self._falling[0][0] >= self._ticks:
            self._falling.popleft()
        self._falling.append((index, value))
        return self._falling[0][1]
