"""Records as the engine makes them, a source of them, and sums to compare by."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

NOON_NS = 1_800_000_000 * 10**9


def make_record(serial: int, **more: Any) -> dict[str, Any]:
    return {
        "serial": serial, "time_ns": NOON_NS + serial, "queue_ns": 0, "connect_ns": 5,
        "ttft_ns": 1000, "total_ns": 2000, "bytes_in": 10, "bytes_out": 100, "events": 4,
        "status": 200, "tried": 1, "upstream": "u", "endpoint": "http://h:1", "outcome": "ok",
        "method": "POST", "exactness": "exact", "path": "/v1/chat/completions", "model": "m",
        "request_id": f"r{serial}", "prompt_tokens": 3, "completion_tokens": serial,
        "cached_tokens": None, "reasoning_tokens": None, **more,
    }  # fmt: skip


def make_batch(serials: Iterable[int], boot: str = "b", **more: Any) -> list[dict[str, Any]]:
    """As the flusher gives them to the ledger."""
    return [{**make_record(s, **more), "id": f"{boot}-{s}", "count": 1} for s in serials]


def overflow_total(count: int, tokens: int, model: str = "m") -> dict[str, Any]:
    return {
        "upstream": "u", "endpoint": "http://h:1", "model": model, "tenant": "",
        "exactness": "exact", "count": count, "prompt_tokens": 0, "completion_tokens": tokens,
        "cached_tokens": 0, "reasoning_tokens": 0, "bytes_in": 0, "bytes_out": 0,
    }  # fmt: skip


class FakeEngine:
    """A ring of `slots` with the engine's rule: what does not fit is counted in the totals."""

    def __init__(self, slots: int = 4096) -> None:
        self.slots = slots
        self.ring: list[dict[str, Any]] = []
        self.totals: dict[str, dict[str, Any]] = {}
        self.serial = 0
        self.bell = threading.Condition()
        self.rung = False

    def finish(self, n: int = 1, model: str = "m") -> None:
        for _ in range(n):
            self.serial += 1
            record = make_record(self.serial, model=model)
            if len(self.ring) < self.slots:
                self.ring.append(record)
                continue
            total = self.totals.setdefault(model, overflow_total(0, 0, model))
            total["count"] += 1
            for name in ("prompt_tokens", "completion_tokens", "bytes_in", "bytes_out"):
                total[name] += record[name]
        with self.bell:
            self.bell.notify_all()

    def records(self, n: int) -> list[dict[str, Any]]:
        taken, self.ring = self.ring[:n], self.ring[n:]
        return taken

    def await_records(self, n: int, *, seconds: float) -> None:
        with self.bell:
            self.bell.wait_for(lambda: self.rung or len(self.ring) >= n, seconds)
            self.rung = False

    def wake_consumer(self) -> None:
        with self.bell:
            self.rung = True
            self.bell.notify_all()

    def take_overflow(self) -> list[dict[str, Any]]:
        grown, self.totals = self.totals, {}
        return list(grown.values())


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    db = sqlite3.connect(path)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def sums(path: Path) -> tuple[int, int]:
    """(exchanges, completion tokens) of the detail, after a check that `hourly` has the same."""
    both = query(
        path,  # one statement: one moment, whatever is written meanwhile
        "SELECT total(count), total(completion_tokens) FROM exchange "
        "UNION ALL SELECT total(requests), total(completion_tokens) FROM hourly",
    )
    detail, hourly = both
    assert detail == hourly
    return int(detail[0]), int(detail[1])
