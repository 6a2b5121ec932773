"""Records out of the ring, each with an id, and what the ring could not hold as records too."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from zeroproxy.metering.rows import DEFAULTS, OVERFLOW, Record

# Records per transaction. After each the flusher looks whether callers need the core (its law 4):
# with many more it would take 10 ms and longer from a full one before it does.
BATCH = 256
# Records per call into the engine, which holds the GIL: 64 take some 0.2 ms, and the loop (health,
# admin) may want the interpreter back.
SLICE = 64

OVERFLOW_KEY = ("upstream", "endpoint", "model", "tenant", "exactness")
OVERFLOW_SUMS = ("count", "prompt_tokens", "completion_tokens", "cached_tokens",
                 "reasoning_tokens", "bytes_in", "bytes_out")  # fmt: skip


class Source(Protocol):
    """The engine, as this thread sees it; it may also have `overflow() -> list[Record]`, totals
    since its start by OVERFLOW_KEY of what the ring could not hold."""

    def records(self, n: int) -> list[Record]: ...

    def await_records(self, n: int, seconds: float) -> None: ...

    def wake_consumer(self) -> None: ...


class Inlet:
    """Records of one process, each with its `id` and `count`, and the overflow as records."""

    def __init__(self, source: Source) -> None:
        self._source = source
        # An engine that keeps no such totals has none to add.
        self._totals: Callable[[], list[Record]] = getattr(source, "overflow", list)
        self._boot = secrets.token_hex(8)
        self._seen: dict[tuple[str, ...], tuple[int, ...]] = {}
        self._synthetic = 0

    def take(self) -> list[Record]:
        """The next batch; empty: there is nothing. What it returns is not returned again."""
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
        """What the totals have grown by since the last call, a record for each key."""
        found = []
        for key, now in self._summed().items():
            before = self._seen.get(key, (0,) * len(now))
            if now == before:
                continue
            self._seen[key] = now
            grown = [a - b for a, b in zip(now, before, strict=True)]
            found.append(self._synthesize(key, grown))
        return found

    def _summed(self) -> dict[tuple[str, ...], tuple[int, ...]]:
        """The totals by their names. The engine keeps rows apart that have the same names: an
        endpoint that came back at another address, bytes of a model that are no UTF-8."""
        sums: dict[tuple[str, ...], tuple[int, ...]] = {}
        for total in self._totals():
            key = tuple(str(total[name]) for name in OVERFLOW_KEY)
            now = tuple(int(total[name]) for name in OVERFLOW_SUMS)
            if key in sums:
                now = tuple(a + b for a, b in zip(sums[key], now, strict=True))
            sums[key] = now
        return sums

    def _synthesize(self, key: Sequence[str], grown: Sequence[int]) -> Record:
        self._synthetic += 1
        return DEFAULTS | {
            "id": f"{self._boot}-o{self._synthetic}",
            "time_ns": time.time_ns(),
            "outcome": OVERFLOW,
            **dict(zip(OVERFLOW_KEY, key, strict=True)),
            **dict(zip(OVERFLOW_SUMS, grown, strict=True)),
        }
