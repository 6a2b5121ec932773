"""Sums of the ledger, read only, and while the proxy writes.

Law 1. `hourly` is complete, so it is summed. The detail is read only for an hour that the window
       cuts, and only if all of that hour's detail is still there. Else the hour is counted whole,
       and the report has a note.
Law 2. One report is one read transaction: it sees no batch by halves.
Tests: tests/unit/test_usage_report.py.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any
from urllib.parse import quote

from zeroproxy.errors import ZeroproxyError, one_line
from zeroproxy.metering.report.arguments import Query, QueryError
from zeroproxy.metering.schema import VERSION

HOUR_S = 3600
HOUR_NS = HOUR_S * 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Exactness of a count. Any other value in the ledger counts as "untrusted".
EXACTNESS = ("exact", "lower_bound", "untrusted", "uncounted", "none")

Key = str | date  # of an hour: datetime, which is a date

HOURLY_SUMS = """SUM(requests), SUM(failed), SUM(prompt_tokens), SUM(completion_tokens),
    SUM(cached_tokens), SUM(reasoning_tokens), TOTAL(ttft_ns), SUM(ttft_count)"""

#: The same of `exchange`; failures are those that rows.sums_of counts.
DETAIL_SUMS = """SUM(count),
    SUM(CASE WHEN outcome IN ('ok', 'overflow') AND finish <> 'error' THEN 0 ELSE count END),
    COALESCE(SUM(prompt_tokens), 0), COALESCE(SUM(completion_tokens), 0),
    COALESCE(SUM(cached_tokens), 0), COALESCE(SUM(reasoning_tokens), 0),
    TOTAL(ttft_ns), SUM(ttft_ns > 0)"""


@dataclass
class Sums:
    requests: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    ttft_ns: float = 0.0
    ttft_count: int = 0
    requests_by: dict[str, int] = field(default_factory=lambda: dict.fromkeys(EXACTNESS, 0))
    tokens_by: dict[str, int] = field(default_factory=lambda: dict.fromkeys(EXACTNESS, 0))

    @property
    def total_tokens(self) -> int:
        """Cached tokens are prompt tokens as well, reasoning tokens completion tokens."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def mean_ttft_s(self) -> float | None:
        return self.ttft_ns / self.ttft_count / 1e9 if self.ttft_count else None

    def share(self, exactness: str) -> float | None:
        """The share of the tokens with this exactness; None where there are none."""
        return self.tokens_by[exactness] / self.total_tokens if self.total_tokens else None

    def add(self, exactness: str, numbers: tuple[Any, ...]) -> None:
        """`numbers`: one row of HOURLY_SUMS or DETAIL_SUMS."""
        for column, number in zip(ADDED, numbers, strict=True):
            setattr(self, column, getattr(self, column) + number)
        known = exactness if exactness in EXACTNESS else "untrusted"
        self.requests_by[known] += numbers[0]
        self.tokens_by[known] += numbers[2] + numbers[3]


ADDED = [f.name for f in fields(Sums)][:8]


@dataclass(frozen=True)
class Row:
    keys: tuple[Key, ...]  # one for each group of the query
    sums: Sums


@dataclass(frozen=True)
class Report:
    query: Query
    rows: list[Row]
    totals: Sums
    first: datetime | None  # when the first hour of the whole ledger begins; None: it is empty
    notes: list[str]


@dataclass(frozen=True)
class Window:
    """A window in Unix time: full hours, in seconds, and at most two hours that it cuts."""

    full: tuple[int, int]
    cut: list[tuple[int, int, int]]  # (hour in s, begin in ns, end in ns)


def nanoseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def window_of(query: Query) -> Window:
    begin = 0 if query.since is None else nanoseconds(query.since)
    end = 2**62 // HOUR_NS * HOUR_NS if query.until is None else nanoseconds(query.until)
    cut = []
    for edge in sorted({at // HOUR_NS for at in (begin, end) if at % HOUR_NS}):
        lower, upper = edge * HOUR_NS, (edge + 1) * HOUR_NS
        cut.append((edge * HOUR_S, max(begin, lower), min(end, upper)))
    return Window((-(-begin // HOUR_NS) * HOUR_S, end // HOUR_NS * HOUR_S), cut)


# ---------------------------------------------------------------- opening


def check_ledger(connection: sqlite3.Connection, path: str) -> None:
    """Raises ZeroproxyError if it is no ledger of this version."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not {"exchange", "hourly"} <= tables:
        raise ZeroproxyError(f"{path}: it is no ledger; metering.ledger names the proxy's")
    if version > VERSION:
        raise ZeroproxyError(
            f"{path}: a newer zeroproxy wrote it (version {version}, this one reads {VERSION}); "
            "use that one"
        )
    if version < VERSION:
        raise ZeroproxyError(
            f"{path}: an older zeroproxy wrote it (version {version}, this one reads {VERSION}); "
            "it is brought up to date when the proxy starts with it"
        )


@contextmanager
def opened(path: str | Path) -> Iterator[sqlite3.Connection]:
    """The ledger at `path`, read only. Raises ZeroproxyError, also for what fails inside."""
    shown = one_line(str(path))
    if not Path(path).exists():
        raise ZeroproxyError(
            f"{shown}: there is no ledger; the proxy makes it where metering.ledger says"
        )
    uri = f"file:{quote(os.fsencode(Path(path).absolute()))}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            check_ledger(connection, shown)
            yield connection
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error):
            raise ZeroproxyError(
                f"{shown}: it is no ledger (not an SQLite file); metering.ledger names the proxy's"
            ) from error
        # Opening a ledger that nobody has open makes its -shm file.
        hint = "; read it as the proxy's user, or while the proxy runs"
        hint = hint if "readonly" in str(error) else ""
        raise ZeroproxyError(f"{shown}: it cannot be read: {error}{hint}") from error


@contextmanager
def reading(connection: sqlite3.Connection) -> Iterator[sqlite3.Cursor]:
    """A cursor inside one read transaction (Law 2)."""
    is_ours = not connection.in_transaction
    cursor = connection.cursor()
    cursor.row_factory = None
    if is_ours:
        cursor.execute("BEGIN")
    try:
        yield cursor
    finally:
        if is_ours:
            connection.rollback()


# ---------------------------------------------------------------- summing


@dataclass
class Reader:
    """Sums rows of one ledger for one query."""

    cursor: sqlite3.Cursor
    query: Query
    sums: dict[tuple[Key, ...], Sums] = field(default_factory=dict)
    totals: Sums = field(default_factory=Sums)

    def read(self, sums: str, table: str, bounds: tuple[str, int, int]) -> None:
        """Rows whose `bounds` column is in [begin, end)."""
        # Only names of ours are written into the statement; values of the query are bound.
        hour = "hour" if table == "hourly" else f"time_ns / {HOUR_NS} * {HOUR_S}"
        names = [n for n in self.query.by if n not in ("hour", "day")]
        is_timed = len(names) < len(self.query.by)
        groups = [hour if is_timed else "0", "exactness", *names]
        where = [f"{bounds[0]} >= ? AND {bounds[0]} < ?"]
        where += [f"{name} = ?" for name in self.query.filters]
        self.cursor.execute(
            f"SELECT {', '.join(groups)}, {sums} FROM {table} WHERE {' AND '.join(where)} "
            f"GROUP BY {', '.join(str(k + 1) for k in range(len(groups)))}",
            [*bounds[1:], *self.query.filters.values()],
        )
        for row in self.cursor:
            keys = dict(zip(names, row[2:], strict=False))
            numbers = row[len(groups) :]
            self.sums.setdefault(self.key_of(row[0], keys), Sums()).add(row[1], numbers)
            self.totals.add(row[1], numbers)
            if self.query.most_rows is not None and len(self.sums) > self.query.most_rows:
                raise QueryError(
                    "by",
                    f"it gives more than {self.query.most_rows} rows; take fewer groups or a "
                    "shorter window, or ask `zeroproxy usage`, which has no such limit",
                )

    def key_of(self, hour: int, keys: dict[str, str]) -> tuple[Key, ...]:
        parts: list[Key] = []
        for name in self.query.by:
            if name in keys:
                parts.append(keys[name])
            else:
                begin = moment_of(hour, self.query.zone)
                parts.append(begin if name == "hour" else begin.date())
        return tuple(parts)

    def has_detail(self, hour: int) -> bool:
        """True if all that was counted in this hour is still there row by row."""
        self.cursor.execute("SELECT COALESCE(SUM(requests), 0) FROM hourly WHERE hour = ?", [hour])
        (counted,) = self.cursor.fetchone()
        begin = hour * (HOUR_NS // HOUR_S)
        self.cursor.execute(
            "SELECT COALESCE(SUM(count), 0) FROM exchange WHERE time_ns >= ? AND time_ns < ?",
            [begin, begin + HOUR_NS],
        )
        return bool(self.cursor.fetchone()[0] == counted)

    def read_window(self) -> list[str]:
        """Notes on hours that could not be counted as the query wants."""
        window, whole = window_of(self.query), []
        self.read(HOURLY_SUMS, "hourly", ("hour", *window.full))
        for hour, begin, end in window.cut:
            if self.has_detail(hour):
                self.read(DETAIL_SUMS, "exchange", ("time_ns", begin, end))
            else:
                self.read(HOURLY_SUMS, "hourly", ("hour", hour, hour + 1))
                whole.append(hour)
        return [
            f"the hour from {label_of(moment_of(hour, self.query.zone))} is counted whole: "
            "its detail is no longer kept"
            for hour in whole
        ]

    def rows(self) -> list[Row]:
        """In the order of time where it is grouped by, else most tokens first."""
        rows = [Row(keys, sums) for keys, sums in self.sums.items()]
        if {"hour", "day"} & set(self.query.by):
            return sorted(rows, key=lambda row: row.keys)
        return sorted(rows, key=lambda row: (-row.sums.total_tokens, row.keys))


def moment_of(hour: int, zone: tzinfo | None) -> datetime:
    """With a fixed offset: in a zone with summer time two hours of a year have one wall time."""
    moment = datetime.fromtimestamp(hour, UTC).astimezone(zone)
    return moment.replace(tzinfo=timezone(moment.utcoffset() or timedelta(), moment.tzname() or ""))


def label_of(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M %Z}"


def first_hour(cursor: sqlite3.Cursor, zone: tzinfo | None) -> datetime | None:
    (hour,) = cursor.execute("SELECT MIN(hour) FROM hourly").fetchone()
    return None if hour is None else moment_of(hour, zone)


def usage(source: str | Path | sqlite3.Connection, query: Query) -> Report:
    """The report on the ledger at a path, or behind a connection. Raises ZeroproxyError."""
    if not isinstance(source, sqlite3.Connection):
        with opened(source) as connection:
            return usage(connection, query)
    with reading(source) as cursor:
        reader = Reader(cursor, query)
        notes = reader.read_window()
        if "day" in query.by and splits_hours(reader):
            notes.append("the zone's days begin within an hour, which is counted to the day before")
        return Report(query, reader.rows(), reader.totals, first_hour(cursor, query.zone), notes)


def splits_hours(reader: Reader) -> bool:
    """True if midnight of the zone is in the middle of an hour of Unix time."""
    now = datetime.now(UTC).astimezone(reader.query.zone)
    return bool((now.utcoffset() or timedelta()) % timedelta(hours=1))
