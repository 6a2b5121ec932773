"""Pauses between two tries: each twice as long as the one before, up to a longest."""

from __future__ import annotations

import random


class Backoff:
    """`jitter`: the part of a pause that is left to chance, so that many do not return in step."""

    def __init__(self, first: float, longest: float, jitter: float = 0.0) -> None:
        self._first, self._longest, self._jitter = first, longest, jitter
        self._next = first

    def pause(self) -> float:
        """Seconds until the next try."""
        pause, self._next = self._next, min(2 * self._next, self._longest)
        return pause * random.uniform(1 - self._jitter, 1)

    def reset(self) -> None:
        """A try was a success."""
        self._next = self._first
