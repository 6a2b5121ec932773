"""A batch of records as the ledger keeps it: rows of `exchange`, and what they add to `hourly`.

Law. Nothing a record holds can make SQLite refuse it: `clean` clamps numbers to 64 bits and makes
     text text. A batch refused once would be refused for ever, and all behind it would wait.

This runs for every exchange: itemgetter and sums of columns, no loop over columns in Python.
Tests: tests/unit/test_ledger.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from zeroproxy.metering.schema import EXCHANGE_COLUMNS, HOURLY_KEY, HOURLY_SUMS

Record = dict[str, Any]
Row = tuple[Any, ...]

#: The outcome of a synthetic record: how these exchanges ended is not known.
OVERFLOW = "overflow"

TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
TEXTS = frozenset(
    ("id", "request_id", "trace_id", "span_id", "upstream", "endpoint", "model", "tenant",
     "method", "path", "outcome", "finish", "exactness")
)  # fmt: skip
DEFAULTS: Record = {
    name: "" if name in TEXTS else None if name in TOKENS else 0 for name in EXCHANGE_COLUMNS
} | {"count": 1}

#: Errors that are the record's own fault; trying again would fail again.
REFUSED = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError,
           ArithmeticError, ValueError, TypeError, KeyError)  # fmt: skip

INT64 = (1 << 63) - 1
HOUR_NS = 3600 * 10**9

#: Columns of `hourly` that are plain sums of a column of `exchange`.
PLAIN = HOURLY_SUMS[2:9]
row_of = itemgetter(*EXCHANGE_COLUMNS)
key_of = itemgetter(*HOURLY_KEY[1:])
values_of = itemgetter("count", "outcome", "finish", "ttft_ns", *PLAIN)


def shape(batch: Sequence[Record]) -> tuple[list[Row], list[Row]]:
    """Rows for `exchange` and for `hourly`. Raises one of REFUSED, or SQLite will, if a record
    lacks a column or has a value of another type. Then call `clean` first."""
    return [row_of(record) for record in batch], hourly_of(batch)


def hourly_of(batch: Sequence[Record]) -> list[Row]:
    groups: dict[Row, list[Row]] = {}
    for record in batch:
        key = (record["time_ns"] // HOUR_NS * 3600, *key_of(record))
        groups.setdefault(key, []).append(values_of(record))
    return [(*key, *map(clamp, sums_of(rows))) for key, rows in groups.items()]


def sums_of(rows: Sequence[Row]) -> list[int]:
    """HOURLY_SUMS of rows as values_of makes them; unknown counts as nothing."""
    counts, outcomes, finishes, ttfts, *plain = zip(*rows, strict=True)
    # The end of the exchanges of an overflow row is unknown, which is no failure. A server's error,
    # as a status or inside the answer, is one, however well it was passed on.
    failed = (
        n for n, how, end in zip(counts, outcomes, finishes, strict=True)
        if how not in ("ok", OVERFLOW) or end == "error"
    )  # fmt: skip
    sums = [sum(filter(None, column)) for column in plain]
    return [sum(counts), sum(failed), *sums, sum(ttfts), sum(map(bool, ttfts))]


# ---------------------------------------------------------------- the careful way


def clamp(value: Any) -> int:
    return max(-INT64, min(int(value or 0), INT64))


def clean(record: Record) -> Record:
    """`record` with every column, each of its type. Raises one of REFUSED if it makes no sense."""
    cleaned: Record = {}
    for name, default in DEFAULTS.items():
        value = record.get(name, default)
        if name in TEXTS:
            cleaned[name] = str(value or "").encode("utf-8", "replace").decode("utf-8")
        elif value is None:
            cleaned[name] = default
        else:
            cleaned[name] = clamp(value)
    return cleaned
