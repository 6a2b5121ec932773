"""Records out of the ring, each with an id, and totals of the overflow as records too."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from zeroproxy.metering.rows import DEFAULTS, OVERFLOW, Record

# Records per transaction. After each the flusher checks if callers need the core (flusher.py, law
# 5). With many more it would take a full core for 10 ms and longer between two checks.
BATCH = 256
# Records per call into the engine, which holds the GIL: 64 take some 0.2 ms, and the loop (health,
# admin) may want the interpreter back.
SLICE = 64

OVERFLOW_KEY = ("upstream", "endpoint", "model", "tenant", "exactness")
OVERFLOW_SUMS = ("count", "prompt_tokens", "completion_tokens", "cached_tokens",
                 "reasoning_tokens", "bytes_in", "bytes_out")  # fmt: skip


class Source(Protocol):
    """The engine, as this thread sees it. It may also have `take_overflow() -> list[Record]`, which
    returns the overflow since the last call, in rows named by OVERFLOW_KEY."""

    def records(self, n: int) -> list[Record]: ...

    def await_records(self, n: int, *, seconds: float) -> None: ...

    def wake_consumer(self) -> None: ...


class RingReader:
    """Records of one process, each with its `id` and `count`, and the overflow as records."""

    def __init__(self, source: Source) -> None:
        self._source = source
        # An engine that keeps no such totals has none to add.
        self._overflow: Callable[[], list[Record]] = getattr(source, "take_overflow", list)
        self._boot = secrets.token_hex(8)
        self._synthetic = 0

    def take(self) -> list[Record]:
        """The next batch; empty: there is nothing. No record is returned twice."""
        batch: list[Record] = []
        while len(batch) < BATCH:
            part = self._source.records(min(SLICE, BATCH - len(batch)))
            if not part:
                break
            batch += part
        for record in batch:
            record["id"] = f"{self._boot}-{record['serial']}"
            record["count"] = 1
        return batch + self._overflowed()

    def _overflowed(self) -> list[Record]:
        """A record for each key. The engine keeps some rows apart that have the same names here. An
        endpoint may come back at another address; a model's name may be no UTF-8."""
        sums: dict[tuple[str, ...], Sequence[int]] = {}
        for row in self._overflow():
            key = tuple(str(row[name]) for name in OVERFLOW_KEY)
            grown = [int(row[name]) for name in OVERFLOW_SUMS]
            if key in sums:
                grown = [a + b for a, b in zip(sums[key], grown, strict=True)]
            sums[key] = grown
        return [self._synthesize(key, grown) for key, grown in sums.items()]

    def _synthesize(self, key: Sequence[str], grown: Sequence[int]) -> Record:
        self._synthetic += 1
        return DEFAULTS | {
            "id": f"{self._boot}-o{self._synthetic}",
            "time_ns": time.time_ns(),
            "outcome": OVERFLOW,
            **dict(zip(OVERFLOW_KEY, key, strict=True)),
            **dict(zip(OVERFLOW_SUMS, grown, strict=True)),
        }
