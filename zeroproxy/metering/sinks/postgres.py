"""Usage into a PostgreSQL table: one transaction per batch, and the id is the primary key.

Law. A row is in the table once, however often it is delivered. Unknown tokens are NULL.
Tests: tests/e2e/test_sinks_real.py.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from zeroproxy.errors import ZeroproxyError, how_to_install
from zeroproxy.metering.rows import TEXTS, TOKENS, Record
from zeroproxy.metering.schema import EXCHANGE_COLUMNS

CONNECT_TIMEOUT = 3  # seconds; libpq counts whole ones
STATEMENT_TIMEOUT_MS = 10_000
TCP_TIMEOUT_MS = 10_000  # unacknowledged data: the peer is gone silently

COLUMNS = ("time", *EXCHANGE_COLUMNS)
TYPES = {"time": "timestamptz NOT NULL", "id": "text PRIMARY KEY"}


def type_of(column: str) -> str:
    if column in TYPES:
        return TYPES[column]
    kind = "text" if column in TEXTS else "bigint"
    return kind if column in TOKENS else f"{kind} NOT NULL"


def values_of(row: Record) -> tuple[Any, ...]:
    # Microseconds, as PostgreSQL has them; from integers, which do not round.
    seconds, ns = divmod(row["time_ns"], 10**9)
    time = datetime.fromtimestamp(seconds, UTC).replace(microsecond=ns // 1000)
    # PostgreSQL's text cannot hold U+0000.
    return (time, *(v.replace("\0", "\ufffd") if isinstance(v, str) else v
                    for v in (row[name] for name in EXCHANGE_COLUMNS)))  # fmt: skip


class PostgresSink:
    """`table`: NAME or SCHEMA.NAME, already checked to be plain identifiers."""

    def __init__(self, dsn: str, table: str) -> None:
        try:
            import psycopg
            from psycopg import conninfo, sql
        except ImportError:
            raise ZeroproxyError(
                f"a postgres sink needs the package psycopg: {how_to_install('postgres')}"
            ) from None
        try:
            given = conninfo.conninfo_to_dict(dsn)
        except psycopg.ProgrammingError:
            # libpq's own message quotes the string.
            raise ZeroproxyError("a postgres sink's dsn is not a connection string") from None
        self._dsn, self._table = dsn, table
        self._password = str(given.get("password") or "")
        ours = {"connect_timeout": CONNECT_TIMEOUT, "tcp_user_timeout": TCP_TIMEOUT_MS,
                "client_encoding": "UTF8", "application_name": "zeroproxy"}  # fmt: skip
        wanted: dict[str, Any] = {k: v for k, v in ours.items() if k not in given}
        self._connect = functools.partial(psycopg.connect, dsn, autocommit=True, **wanted)
        name = sql.Identifier(*table.split("."))
        fields = sql.SQL(", ").join(
            sql.SQL("{} " + type_of(column)).format(sql.Identifier(column)) for column in COLUMNS
        )
        self._create = sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(name, fields)
        self._insert = sql.SQL(
            "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT (id) DO NOTHING"
        ).format(
            name,
            sql.SQL(", ").join(map(sql.Identifier, COLUMNS)),
            sql.SQL(", ").join(sql.Placeholder() * len(COLUMNS)),
        )
        self._conn: Any = None

    def _open(self) -> Any:
        if self._conn is None:
            conn = self._connect()
            try:
                conn.execute(f"SET statement_timeout = {STATEMENT_TIMEOUT_MS}")
                # Looked for first: a user that may not create tables may still use this one.
                row = conn.execute("SELECT to_regclass(%s)", [self._table]).fetchone()
                if row is None or row[0] is None:
                    conn.execute(self._create)
            except BaseException:
                conn.close()
                raise
            self._conn = conn
        return self._conn

    def deliver(self, ledger_id: str, after: int, rows: Sequence[Record]) -> int:
        try:
            conn = self._open()
            with conn.transaction(), conn.cursor() as cursor:
                cursor.executemany(self._insert, [values_of(row) for row in rows])
        except BaseException:
            # The connection may be in any state: the next attempt opens a new one.
            self.close()
            raise
        return int(rows[-1]["seq"])

    def probe(self) -> None:
        self._connect().close()

    def secrets(self) -> Sequence[str]:
        return (self._dsn, self._password)

    def close(self) -> None:
        if self._conn is not None:
            conn, self._conn = self._conn, None
            with contextlib.suppress(Exception):
                conn.close()
