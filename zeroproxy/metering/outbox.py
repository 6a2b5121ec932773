"""Feeders: what is in the ledger, on to servers that may be slow, down, or gone for days.

Law 1. One thread and one SQLite connection for each sink: a slow server delays nobody else.
Law 2. A cursor moves only after the sink has the rows. A sink must not mind rows it has already:
       a crash between the two delivers them again.
Law 3. No error text that leaves here holds a secret.
Tests: tests/unit/test_outbox.py.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from zeroproxy.backoff import Backoff
from zeroproxy.errors import ZeroproxyError
from zeroproxy.metering.ledger import Ledger
from zeroproxy.metering.priority import yield_the_core
from zeroproxy.metering.rows import Record

log = logging.getLogger(__name__)

BATCH = 500  # rows per delivery
# The flusher wakes a feeder after each write; this is for rows of another process.
IDLE = 5.0
RETRY_FIRST, RETRY_LAST = 0.2, 30.0
STOP_PATIENCE = 2.0


class OutboxSink(Protocol):
    """A server behind the ledger. Used by one thread; every call is bounded by timeouts."""

    def deliver(self, ledger_id: str, after: int, rows: Sequence[Record]) -> int:
        """Take `rows`, all behind seq `after`, once. Returns the seq up to which the sink has
        everything: that of the last row, or one before `after` if it lost what it had."""

    def probe(self) -> None:
        """Raise if the server cannot be used now."""

    def secrets(self) -> Sequence[str]:
        """Texts that must not appear in any other."""

    def close(self) -> None: ...


def without(text: str, secrets: Sequence[str]) -> str:
    """`text` on one line, without any of `secrets`."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return " ".join(text.split())


class Feeder:
    """One sink's thread. `source` is the ledger that this process writes: only its path and
    last_seq are read."""

    def __init__(self, name: str, kind: str, sink: OutboxSink, source: Ledger) -> None:
        self.name, self.kind = name, kind
        self._sink, self._source = sink, source
        self._path: Path = source.path
        self._ledger: Ledger | None = None
        self._stop, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"zeroproxy-{name}", daemon=True)
        self._cursor = source.cursor(name) if source.is_in_place() else 0
        self._oldest_ns = 0  # end of the oldest exchange that is known to wait; 0: none is
        self._caught_up_ns = time.time_ns()
        self._delivered = self._failures = 0
        self._is_failing = False
        self._backoff = Backoff(RETRY_FIRST, RETRY_LAST, jitter=0.5)
        self._error = ""

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There may be new rows."""
        self._wake.set()

    def ask_stop(self) -> None:
        self._stop.set()
        self._wake.set()

    def join(self, seconds: float) -> bool:
        """True where it has ended; if not, its client's timeouts will end it."""
        if self._thread.ident is not None:  # else it was never started
            self._thread.join(max(0.0, seconds))
        return not self._thread.is_alive()

    def state(self) -> dict[str, Any]:
        waiting = max(0, self._source.last_seq - self._cursor)
        since = self._oldest_ns or self._caught_up_ns
        return {
            "name": self.name,
            "kind": self.kind,
            "waiting": waiting,
            "lag_seconds": round(max(0, time.time_ns() - since) / 1e9, 3) if waiting else 0.0,
            "delivered": self._delivered,
            "failures": self._failures,
            "last_error": self._error,
        }

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        yield_the_core()
        deadline = 0.0
        while True:
            is_last = self._stop.is_set()
            if is_last and not deadline:
                deadline = time.monotonic() + STOP_PATIENCE
            self._wake.clear()
            try:
                moved = self._step()
            except Exception as error:  # a client library may raise anything
                self._failed(error)
                if isinstance(error, sqlite3.Error):
                    self._let_go()
                if is_last:
                    break
                self._stop.wait(self._backoff.pause())
                continue
            if is_last and (not moved or time.monotonic() > deadline):
                break
            if not moved and not self._stop.is_set():
                self._wake.wait(IDLE)
        self._close()

    def _step(self) -> bool:
        """One batch to the sink; False: it has everything."""
        if self._ledger is None:
            self._ledger = Ledger(self._path)
        after = self._ledger.cursor(self.name)
        self._cursor = after
        rows = self._ledger.read_after(after, BATCH)
        if not rows:
            self._oldest_ns, self._caught_up_ns = 0, time.time_ns()
            if self._ledger.is_in_place():
                return False
            self._ledger.follow()  # only now: what was in the old file is delivered
            return True
        self._oldest_ns = rows[0]["time_ns"] + rows[0]["total_ns"]
        reached = self._sink.deliver(self._ledger.ledger_id, after, rows)
        if reached > rows[-1]["seq"] and reached > self._ledger.newest():
            raise ZeroproxyError(
                "it has rows that this ledger never had: a copy or a backup? It needs an id of its "
                "own (docs/metering.md)"
            )
        self._ledger.advance(self.name, reached)
        self._cursor = reached
        self._succeeded(after, reached, rows)
        return True

    def _succeeded(self, after: int, reached: int, rows: Sequence[Record]) -> None:
        self._delivered += sum(after < row["seq"] <= reached for row in rows)
        if reached < after:
            log.warning(f"{self.name} has lost what it had; it gets it again as far as it is kept")
        if self._is_failing:
            log.info(f"{self.name} works again")
        self._is_failing, self._error = False, ""
        self._backoff.reset()

    def _failed(self, error: Exception) -> None:
        text = without(f"{type(error).__name__}: {error}", self._sink.secrets())
        self._failures += 1
        self._error = text
        if not self._is_failing:
            self._is_failing = True
            log.warning(f"{self.name} fails: {text}; what it misses waits in the ledger")

    def _let_go(self) -> None:
        """The ledger failed: what is at its path next time, perhaps a new one."""
        if self._ledger is not None and not self._ledger.is_in_place():
            self._ledger.close()
            self._ledger = None

    def _close(self) -> None:
        with contextlib.suppress(Exception):
            self._sink.close()
        if self._ledger is not None:
            self._ledger.close()


def stop_all(feeders: Sequence[Feeder]) -> None:
    """One last attempt of each, all at once; one that does not end in time is left behind."""
    for feeder in feeders:
        feeder.ask_stop()
    deadline = time.monotonic() + STOP_PATIENCE
    for feeder in feeders:
        if not feeder.join(deadline - time.monotonic()):
            log.warning(f"{feeder.name} does not answer; what it misses waits in the ledger")
