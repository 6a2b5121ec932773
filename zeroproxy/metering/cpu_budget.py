"""The share of a core that the flusher's thread takes while callers need all of it.

Law. While the other threads fill a core, this one works at most SHARE of its time; else it is
     free. Nothing is lost: records that the ring cannot hold meanwhile go into the totals.

A lower priority alone does not do it: the kernel still gives the thread a tenth of the core where
there is only one. At SHARE some 1,000 exchanges a second keep a row each; a core is full from more
than ten times as many.
Tests: tests/unit/test_cpu_budget.py.
"""

from __future__ import annotations

import time

FULL = 0.85  # of a core, taken by the process's other threads: callers wait for it
SHARE = 0.02  # of a core, for the calling thread
LONGEST = 2.0  # seconds of one pause


def pause_after(elapsed: float, whole: float, own: float) -> float:
    """Seconds to pause after `elapsed`, in which the process took `whole` seconds of CPU time and
    the calling thread `own` of them."""
    if whole - own < FULL * elapsed:
        return 0.0
    return min(own / SHARE - own, LONGEST)


class CpuBudget:
    """Belongs to the thread that makes it."""

    def __init__(self) -> None:
        self._before = self._read()

    @staticmethod
    def _read() -> tuple[float, float, float]:
        return time.monotonic(), time.process_time(), time.thread_time()

    def pause(self) -> float:
        """Seconds to pause after the work since the last call, or since the start."""
        now = self._read()
        spent = [a - b for a, b in zip(now, self._before, strict=True)]
        self._before = now
        return pause_after(*spent)
