"""Ledgers as the proxy would have written them, by hand."""

import itertools
import sqlite3
from pathlib import Path
from typing import Any

from zeroproxy.metering import schema

HOUR_NS = 3600 * 10**9
NUMBERS = itertools.count()

UNKNOWN = (None, None, None, None)
TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")


def new_ledger(path: Path | str = ":memory:", version: int = schema.VERSION) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(schema.TABLES)
    connection.execute(f"PRAGMA user_version = {version}")
    return connection


def record(time_ns: int, **more: Any) -> dict[str, Any]:
    """One exchange; `tokens`: prompt, completion, cached, reasoning."""
    tokens = dict(zip(TOKENS, more.pop("tokens", UNKNOWN), strict=True))
    return {
        "id": f"test-{next(NUMBERS)}", "time_ns": time_ns, "count": 1, "upstream": "gpu",
        "endpoint": "http://h:1", "model": "m", "tenant": "", "outcome": "ok",
        "exactness": "exact", "ttft_ns": 0, **tokens, **more,
    }  # fmt: skip


def summed(row: dict[str, Any]) -> dict[str, int]:
    """The counts that a record adds to its row of `hourly`."""
    n = row["count"]
    ended_well = row["outcome"] in ("ok", "overflow") and row.get("finish") != "error"
    return {
        "requests": n, "failed": 0 if ended_well else n,
        **{name: row[name] or 0 for name in TOKENS},
        "ttft_ns": row["ttft_ns"], "ttft_count": int(row["ttft_ns"] > 0),
    }  # fmt: skip


def insert(connection: sqlite3.Connection, table: str, row: dict[str, Any], rest: str = "") -> None:
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    values = list(row.values())
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks}) {rest}", values)


def write(connection: sqlite3.Connection, rows: list[dict[str, Any]]) -> None:
    """Into the detail and the hours, in one transaction (Law 2 of the schema)."""
    connection.execute("BEGIN IMMEDIATE")
    for row in rows:
        insert(connection, "exchange", row)
        key = {name: row[name] for name in schema.HOURLY_KEY if name != "hour"}
        key["hour"] = row["time_ns"] // HOUR_NS * 3600
        sums = summed(row)
        more = ", ".join(f"{name} = {name} + excluded.{name}" for name in sums)
        insert(connection, "hourly", key | sums, f"ON CONFLICT DO UPDATE SET {more}")
    connection.execute("COMMIT")


def prune(connection: sqlite3.Connection, before_ns: int) -> None:
    connection.execute("DELETE FROM exchange WHERE time_ns < ?", [before_ns])
