"""The usage ledger: one SQLite file, written in transactions, read by the outbox and by reports.

Law 1. A batch is in the file whole or not at all, and once: writing it again changes nothing.
Law 2. Detail is pruned only when it is old and every sink of this configuration has got past it.
Law 3. Every error is a sentence that names the file. One Ledger belongs to one thread at a time.

The file may be shared: several processes write one after another (WAL, busy timeout), anybody may
read. It may be deleted or replaced while it is open: each write checks the path.
Tests: tests/unit/test_ledger.py, tests/unit/test_replaced.py.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from zeroproxy.errors import ZeroproxyError
from zeroproxy.metering.ledger_errors import kind_of, why
from zeroproxy.metering.rows import REFUSED, Record, clean, shape
from zeroproxy.metering.schema import EXCHANGE_COLUMNS, HOURLY_KEY, HOURLY_SUMS, TABLES, VERSION

#: Held while a file is made and opened. POSIX locks belong to the process: closing any descriptor
#: of the file takes from every connection of this process the locks it relies on. Hence also: the
#: file is opened by SQLite alone, except by the process that has just made it.
OPENING = threading.Lock()

#: Scripts that raise user_version by one, by the version they start from.
MIGRATIONS = {0: TABLES}

BUSY_TIMEOUT_MS = 1000  # less than the flusher has at its end
PRUNE_STEP = 5000  # rows looked at per call, so that writing never waits long
WAL_LIMIT = 64 << 20  # bytes the -wal file keeps after a checkpoint
SHORTEST = 512  # bytes of the smallest database file
DAY_NS = 86400 * 10**9

INSERT = (
    f"INSERT INTO exchange ({', '.join(EXCHANGE_COLUMNS)}) "
    f"VALUES ({', '.join('?' * len(EXCHANGE_COLUMNS))})"
)
UPSERT = (
    f"INSERT INTO hourly ({', '.join((*HOURLY_KEY, *HOURLY_SUMS))}) "
    f"VALUES ({', '.join('?' * len(HOURLY_KEY + HOURLY_SUMS))}) "
    f"ON CONFLICT ({', '.join(HOURLY_KEY)}) DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in HOURLY_SUMS)
)
SELECT = (
    f"SELECT seq, {', '.join(EXCHANGE_COLUMNS)} FROM exchange WHERE seq > ? ORDER BY seq LIMIT ?"
)
PRUNE = (
    "DELETE FROM exchange WHERE time_ns < ? AND seq IN "
    "(SELECT seq FROM exchange WHERE seq <= ? ORDER BY seq LIMIT ?)"
)
ADVANCE = "INSERT INTO cursor (sink, seq) VALUES (?, ?) ON CONFLICT (sink) DO UPDATE SET seq = ?"


def statements(script: str) -> Iterator[str]:
    """The statements of a script; executescript would end the transaction they belong to."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


Inode = tuple[int, int]
SUFFIXES = ("", "-wal", "-shm")


def inode_of(path: str) -> Inode:
    """(0, 0): there is no such file."""
    try:
        status = Path(path).stat()
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


class Ledger:
    """The file at `path`, made if it is not there. Raises ZeroproxyError if it cannot be used.

    `sinks`: names of the outbox's sinks; retention in days, 0: for ever. `is_open` False: it is
    opened by the first `follow`, which each write begins with."""

    def __init__(
        self,
        path: str | Path,
        *,
        sinks: Sequence[str] = (),
        retention_days: float = 0,
        hourly_retention_days: float = 0,
        is_open: bool = True,
    ) -> None:
        self.path = Path(path)
        self.sinks = tuple(sinks)
        self._retention_ns = int(retention_days * DAY_NS)
        self._hourly_retention_ns = int(hourly_retention_days * DAY_NS)
        self.last_seq = self.first_seq = 0
        self.ledger_id = ""
        self.replaced = 0  # times the path was found to name another file, or none
        self._inodes: dict[str, Inode] = {}  # of the open files, by suffix; empty: not open
        self._tried: Inode = (0, 0)  # of the file that was opened last, or could not be
        self._db = sqlite3.connect(":memory:")
        self._db.close()
        if is_open:
            self.follow()

    def _begin(self) -> None:
        """Open what is at the path, or make it. OPENING is held."""
        self._tried = inode_of(str(self.path))
        try:
            self._db = self._connect()
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise self._wrong(f"cannot be opened: {reason}", kind_of(error)) from None
        try:
            self._open()
        except sqlite3.Error as error:
            self.close()
            raise self._wrong(why(error), kind_of(error)) from None
        except BaseException:
            self.close()
            raise
        self._inodes = {suffix: inode_of(f"{self.path}{suffix}") for suffix in SUFFIXES}
        self._tried = self._inodes[""]

    def is_in_place(self) -> bool:
        """True while the path names the file that is open."""
        return bool(self._inodes) and inode_of(str(self.path)) == self._inodes[""]

    def follow(self) -> None:
        """Go on with the file at the path, made if there is none, if the open one was deleted or
        replaced. The old one is left whole. Raises ZeroproxyError, and may be called again then."""
        if self.is_in_place():
            return
        with OPENING:
            if self._inodes:
                self.replaced += 1
                # SQLite does not do it itself when it closes a file that has moved.
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self.close()
                # The new file would share these names with the old one, which other connections,
                # here and in other processes, still use. Two databases over one -shm corrupt both.
                for suffix in SUFFIXES[1:]:
                    with contextlib.suppress(OSError):
                        if inode_of(f"{self.path}{suffix}") == self._inodes[suffix]:
                            Path(f"{self.path}{suffix}").unlink()
                self._inodes = {}
            self._begin()

    def _connect(self) -> sqlite3.Connection:
        try:
            # SQLite gives its -wal and -shm files the mode of the file itself.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            if self.path.is_dir():
                raise self._wrong("cannot be opened: it is a directory") from None
            if not os.access(self.path, os.R_OK | os.W_OK):
                raise self._wrong("cannot be opened: Permission denied") from None
            # Checked here, because SQLite takes such a short file of any content for an empty one.
            if 0 < self.path.stat().st_size < SHORTEST:
                raise self._wrong("is no SQLite database") from None
        return sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_MS / 1000
        )

    def put_aside(self) -> Path:
        """Give a damaged file another name, so that a new one can be begun; which. Nothing in it is
        changed. Raises OSError."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        aside = self.path.with_name(f"{self.path.name}.damaged-{stamp}-{secrets.token_hex(2)}")
        # A thread that opened the path between two names would begin a file beside an old -wal.
        with OPENING:
            # Another process that shares it may have done so already.
            if inode_of(str(self.path)) == self._tried:
                for suffix in SUFFIXES:
                    with contextlib.suppress(FileNotFoundError):
                        Path(f"{self.path}{suffix}").rename(f"{aside}{suffix}")
            self.close()  # behind the renaming: SQLite writes nothing to a file that has moved
            self._inodes = {}
        return aside

    def _wrong(self, message: str, kind: type[ZeroproxyError] = ZeroproxyError) -> ZeroproxyError:
        return kind(f"the ledger {self.path} {message}")

    def _open(self) -> None:
        if self._version() > VERSION:
            raise self._wrong(
                f"was written by a newer zeroproxy (version {self._version()}; this one knows "
                f"{VERSION})"
            )
        # Before anything is written: a file that is not ours is left as it is.
        self._demand_ours()
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT}")
        if self._version() < VERSION:
            with self.transaction():
                self._migrate()
        ledger_id = self._one("SELECT value FROM meta WHERE name = 'ledger_id'")
        if ledger_id is None:
            raise self._wrong("is no ledger: it has no ledger_id")
        self.ledger_id = str(ledger_id)
        self._note_bounds()

    def _demand_ours(self) -> None:
        needed = {"exchange", "hourly", "cursor", "meta"}
        self._db.execute("BEGIN")  # both from one moment: another process may be making it
        version = self._version()
        names = {name for (name,) in self._db.execute("SELECT name FROM sqlite_schema")}
        self._db.execute("COMMIT")
        if version == 0 and names:
            raise self._wrong("is a SQLite database, but no ledger")
        if version > 0 and not needed <= names:
            raise self._wrong(f"is no ledger: it has no table {min(needed - names)}")

    def _migrate(self) -> None:
        """Inside a transaction, so that of two processes the second finds the work done."""
        for version in range(self._version(), VERSION):
            for statement in statements(MIGRATIONS[version]):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {version + 1}")
        self._db.execute(
            "INSERT OR IGNORE INTO meta (name, value) VALUES ('ledger_id', ?)",
            (secrets.token_hex(8),),
        )

    # ------------------------------------------------------------ small tools

    def _one(self, query: str, *values: Any) -> Any:
        row = self._db.execute(query, values).fetchone()
        return None if row is None else row[0]

    def _version(self) -> int:
        return int(self._one("PRAGMA user_version"))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """BEGIN IMMEDIATE: a transaction that reads first can then still write."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # A full disk has ended it already.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _note_bounds(self) -> None:
        self.last_seq = int(self._one("SELECT max(seq) FROM exchange") or 0) or int(
            self._one("SELECT seq FROM sqlite_sequence WHERE name = 'exchange'") or 0
        )
        self.first_seq = int(self._one("SELECT min(seq) FROM exchange") or self.last_seq + 1)

    def has(self, identity: str) -> bool:
        """True where there is a row with this id."""
        return self._one("SELECT 1 FROM exchange WHERE id = ?", identity) is not None

    # ------------------------------------------------------------ writing

    def write(self, batch: Sequence[Record]) -> None:
        """All of `batch`, each with an `id`; nothing if its first id is there already.
        Raises sqlite3.Error; the file is then as it was before."""
        if batch:
            self.follow()
            try:
                self._write(batch)
            except REFUSED:
                self._write([clean(record) for record in batch])
            self._note_bounds()

    def _write(self, batch: Sequence[Record]) -> None:
        rows, sums = shape(batch)
        with self.transaction():
            if not self.has(batch[0]["id"]):
                self._db.executemany(INSERT, rows)
                self._db.executemany(UPSERT, sums)

    def write_missing(self, batch: Sequence[Record]) -> int:
        """Those of `batch` that are not there yet; returns how many."""
        self.follow()
        with self.transaction():
            unique = {str(record["id"]): record for record in batch}
            missing = [clean(record) for name, record in unique.items() if not self.has(name)]
            rows, sums = shape(missing)
            self._db.executemany(INSERT, rows)
            self._db.executemany(UPSERT, sums)
        self._note_bounds()
        return len(missing)

    def write_apart(self, batch: Sequence[Record]) -> tuple[int, list[Record]]:
        """Write the records of `batch` that are not there yet, in ever smaller parts where the file
        refuses a whole. Returns how many, and those refused each by itself. Raises sqlite3.Error;
        some may be there then, and may be given again."""
        if not batch:
            return 0, []
        try:
            return self.write_missing(batch), []
        except REFUSED:
            if len(batch) == 1:
                return 0, list(batch)
        half = len(batch) // 2
        parts = [self.write_apart(part) for part in (batch[:half], batch[half:])]
        return sum(n for n, _ in parts), [record for _, bad in parts for record in bad]

    def prune(self, now: float | None = None) -> int:
        """One bounded step of forgetting, oldest first; returns how many rows went."""
        self.follow()
        now_ns = int((time.time() if now is None else now) * 1e9)
        passed = min((self.cursor(sink) for sink in self.sinks), default=self.last_seq)
        gone = 0
        with self.transaction():
            if self._retention_ns:
                before = now_ns - self._retention_ns
                gone = self._db.execute(PRUNE, (before, passed, PRUNE_STEP)).rowcount
            if self._hourly_retention_ns:
                hour = (now_ns - self._hourly_retention_ns) // 10**9
                self._db.execute("DELETE FROM hourly WHERE hour < ?", (hour,))
        self._note_bounds()
        return gone

    # ------------------------------------------------------------ the outbox

    def newest(self) -> int:
        """The highest seq that was ever given, also by other processes."""
        self._note_bounds()
        return self.last_seq

    def read_after(self, seq: int, limit: int) -> list[Record]:
        """Rows behind `seq` in order, as dicts with `seq` and EXCHANGE_COLUMNS."""
        names = ("seq", *EXCHANGE_COLUMNS)
        rows = self._db.execute(SELECT, (seq, limit)).fetchall()
        return [dict(zip(names, row, strict=True)) for row in rows]

    def cursor(self, sink: str) -> int:
        """The last seq that `sink` has; 0: it has nothing."""
        return int(self._one("SELECT seq FROM cursor WHERE sink = ?", sink) or 0)

    def advance(self, sink: str, seq: int) -> None:
        """Note that `sink` has everything up to `seq` (less than before: it lost something)."""
        with self.transaction():
            self._db.execute(ADVANCE, (sink, seq, seq))

    # ------------------------------------------------------------ readers

    def state(self) -> dict[str, Any]:
        """From memory and the file system only: any thread may ask, and nobody waits."""
        size = 0
        for suffix in ("", "-wal"):
            with contextlib.suppress(OSError):
                size += Path(f"{self.path}{suffix}").stat().st_size
        rows = max(0, self.last_seq - self.first_seq + 1)
        return {
            "path": str(self.path),
            "rows": rows,
            "bytes": size,
            "replaced": self.replaced,
            "is_open": bool(self._inodes),
        }

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
