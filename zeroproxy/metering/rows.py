"""A record as the ledger keeps it: one row of `exchange`, its share of `hourly`.

Law. Nothing a record holds can make SQLite refuse it: numbers are clamped to 64 bits, text is text.
     A row that is refused once would be refused for ever, and everything behind it would wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zeroproxy.metering.schema import EXCHANGE_COLUMNS, HOURLY_KEY, HOURLY_SUMS

Record = dict[str, Any]

#: The outcome of a synthetic record: how these exchanges ended is not known.
OVERFLOW = "overflow"

TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
TEXTS = frozenset(
    ("id", "request_id", "trace_id", "span_id", "upstream", "endpoint", "model", "tenant",
     "method", "path", "outcome", "finish", "exactness")
)  # fmt: skip
INT64 = (1 << 63) - 1
HOUR_NS = 3600 * 10**9
ADDED = tuple(HOURLY_SUMS.index(name) for name in (*TOKENS, "bytes_in", "bytes_out", "total_ns"))
ADDED_NAMES = (*TOKENS, "bytes_in", "bytes_out", "total_ns")


def as_text(value: Any) -> str:
    return str(value or "").encode("utf-8", "replace").decode("utf-8")


def as_int(value: Any) -> int:
    return max(-INT64, min(int(value or 0), INT64))


def row_of(record: Record) -> tuple[Any, ...]:
    """The values of EXCHANGE_COLUMNS; what a record does not have is the column's default."""
    row: list[Any] = []
    for name in EXCHANGE_COLUMNS:
        value = record.get(name)
        if name in TEXTS:
            row.append(as_text(value))
        elif name == "count":
            row.append(as_int(1 if value is None else value))
        elif value is None and name in TOKENS:
            row.append(None)
        else:
            row.append(as_int(value))
    return tuple(row)


def hourly_key(record: Record) -> tuple[Any, ...]:
    hour = as_int(record.get("time_ns")) // HOUR_NS * 3600
    return (hour, *(as_text(record.get(name)) for name in HOURLY_KEY[1:]))


def hourly_of(batch: Iterable[Record]) -> list[tuple[Any, ...]]:
    """HOURLY_KEY and HOURLY_SUMS of a batch, a row for each key."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    for record in batch:
        key = hourly_key(record)
        row = sums.setdefault(key, [0] * len(HOURLY_SUMS))
        count = 1 if record.get("count") is None else as_int(record["count"])
        row[0] += count
        # How the exchanges of an overflow row ended is unknown, which is no failure.
        row[1] += 0 if record.get("outcome") in ("ok", OVERFLOW) else count
        for at, name in zip(ADDED, ADDED_NAMES, strict=True):
            row[at] += as_int(record.get(name))
        ttft = as_int(record.get("ttft_ns"))
        if ttft:
            row[-2] += ttft
            row[-1] += 1
    return [(*key, *map(as_int, row)) for key, row in sums.items()]
