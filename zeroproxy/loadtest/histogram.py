"""Durations, counted in buckets that are half a percent wide: as many as you like, in 40 KiB."""

from __future__ import annotations

import math
from array import array

STEP = math.log(1.005)  # a bucket's width; a quantile is its middle, so it is off by <= 0.25 %
LEAST = 1e-6  # seconds; what is shorter counts as nothing
BUCKETS = 1 + math.ceil(math.log(86_400 / LEAST) / STEP)  # a day


class Histogram:
    """Seconds."""

    def __init__(self) -> None:
        self.counts = array("Q", bytes(8 * BUCKETS))
        self.n = 0
        self.sum = 0.0
        self.most = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        k = int(math.log(seconds / LEAST) / STEP) + 1 if seconds >= LEAST else 0
        self.counts[min(k, BUCKETS - 1)] += times
        self.n += times
        self.sum += seconds * times
        self.most = max(self.most, seconds)

    def merge(self, other: Histogram) -> None:
        for k, count in enumerate(other.counts):
            if count:
                self.counts[k] += count
        self.n += other.n
        self.sum += other.sum
        self.most = max(self.most, other.most)

    def quantile(self, share: float) -> float | None:
        """The nearest rank; None: nothing was added."""
        if not self.n:
            return None
        left = max(1, math.ceil(share * self.n))
        for k, count in enumerate(self.counts):
            left -= count
            if left <= 0:
                return min(self.most, LEAST * math.exp((k - 0.5) * STEP)) if k else 0.0
        return self.most

    def summary(self) -> dict[str, float | int | None]:
        """As the JSON keeps it, in seconds."""
        found: dict[str, float | int | None] = {"count": self.n}
        found["mean"] = self.sum / self.n if self.n else None
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
            found[name] = self.quantile(share)
        found["max"] = self.most if self.n else None
        return found
