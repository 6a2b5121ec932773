"""The consumer thread of the ring: records out in batches, into the ledger, then to direct sinks.

Law 1. The loop never waits for a sink: the thread does.
Law 2. The ledger must succeed. Until it has a batch nothing more is taken from the ring. Records
       that the ring cannot hold meanwhile are added up in C (`overflow`) and become synthetic
       records later. Memory is bounded: one batch.
Law 3. A record that the ledger refuses does not stop the others. It is kept in a file of its own,
       which the next start tries again, and /status and metrics show it.
Law 4. Direct sinks (access log, traces) get each batch once, after the ledger, and only queue it.
       One that fails is reported once, counted, and tried again with the next batch.
Law 5. While callers need the whole core, it takes little of it (cpu_budget.py). While nobody
       calls, it sleeps until the ring wakes it.
Law 6. `stop` takes all that is left before it closes. If the ledger still fails after STOP_PATIENCE
       the rest goes to the rescue file, which the next start takes in: SIGTERM loses nothing. Only
       a write that hangs in the kernel for HANG_PATIENCE is left behind.
Tests: tests/unit/test_flusher.py, tests/unit/test_refused.py.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from zeroproxy.backoff import Backoff
from zeroproxy.errors import ZeroproxyError
from zeroproxy.metering.cpu_budget import CpuBudget
from zeroproxy.metering.ledger import Ledger
from zeroproxy.metering.ledger_errors import is_damage
from zeroproxy.metering.priority import yield_the_core
from zeroproxy.metering.rescue_file import (
    append,
    has_rescued,
    refused_path,
    rescue_path,
    take_in,
    to_lines,
)
from zeroproxy.metering.ring_and_overflow import BATCH, RingReader, Source
from zeroproxy.metering.rows import REFUSED, Record

log = logging.getLogger(__name__)

# Seconds between two looks at the ring while records come, and what kill -9 loses at most. A record
# after a pause is taken at once. Every look costs some 0.5 ms, mostly because all it needs has left
# the caches meanwhile: hence not more of them.
INTERVAL = 1.0
RETRY_FIRST, RETRY_LAST = 0.2, 5.0  # seconds between two tries of a ledger that fails
STOP_PATIENCE = 2.0  # seconds a failing ledger gets at the end
HANG_PATIENCE = 10.0  # seconds one write may take at the end
PRUNE_EVERY = 60.0  # seconds
PRUNE_PAUSE = 0.2  # seconds between two steps of one pruning


class Sink(Protocol):
    """Where records go directly. `write` gets a non-empty batch, oldest first, and waits for
    nobody; `close` takes a few seconds at most."""

    def write(self, batch: list[Record]) -> None: ...

    def close(self) -> None: ...


def amount(batch: Sequence[Record]) -> int:
    """Requests that `batch` stands for."""
    return sum(int(record["count"]) for record in batch)


class Flusher:
    """`ledger` None: there are only direct sinks. `on_written` is called after each transaction."""

    def __init__(
        self,
        source: Source,
        ledger: Ledger | None,
        sinks: Sequence[tuple[str, Sink]],
        on_written: Callable[[], None] = lambda: None,
    ) -> None:
        self._source = source
        self._reader = RingReader(source)
        self._ledger = ledger
        self._sinks = sinks
        self._on_written = on_written
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="zeroproxy-flusher", daemon=True)
        self._batch: list[Record] = []  # taken from the ring, not yet everywhere
        # The batch that the ledger refused as a whole; it still has to get it record by record.
        self._apart: list[Record] = []
        self._reason = ""  # why
        self._since = 0.0  # when that batch was taken
        self._beat = time.monotonic()  # when the last step began
        self._failures = {name: 0 for name, _ in sinks}
        self._failing: set[str] = set()
        self._error = ""
        self._refused = self._replaced = self._damaged = 0
        self._backoff = Backoff(RETRY_FIRST, RETRY_LAST)
        self._prune_due = time.monotonic() + PRUNE_EVERY
        if ledger is not None:
            self._failures = {"ledger": 0, **self._failures}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Save what is left and close everything. Blocks; call it from a thread."""
        self._stop.set()
        self._source.wake_consumer()
        self._beat = time.monotonic()
        while self._thread.is_alive():
            self._thread.join(0.1)
            if time.monotonic() - self._beat > HANG_PATIENCE:
                n, requests = len(self._batch), amount(self._batch)
                log.error(f"the ledger hangs; {n} records of {requests} requests and what is in "
                          f"the ring ARE LOST")  # fmt: skip
                break
        for _, sink in self._sinks:
            with contextlib.suppress(Exception):
                sink.close()
        if self._ledger is not None and not self._thread.is_alive():
            self._ledger.close()

    def state(self) -> dict[str, Any]:
        since = self._since
        return {
            "pending": len(self._batch),
            "stalled_seconds": round(time.monotonic() - since, 3) if since else 0.0,
            "failures": dict(self._failures),
            "failing": sorted(self._failing),
            "last_error": self._error,
            "refused": self._refused,
            "damaged": self._damaged,
        }

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        yield_the_core()
        budget = CpuBudget()
        while not self._stop.is_set():
            # The totals can grow a moment after a full ring was emptied. If no record comes before,
            # the next read, when pruning is due, finds them.
            if not self._batch:
                self._source.await_records(1, seconds=self._until_prune())
            pause = self._flush(budget)
            if pause:
                self._stop.wait(pause)
            elif not self._stop.is_set():
                patience = min(INTERVAL, self._until_prune() + PRUNE_PAUSE)
                self._source.await_records(BATCH, seconds=patience)
        self._drain()

    def _take(self) -> list[Record]:
        """The batch that waits, or the next one."""
        self._beat = time.monotonic()
        if not self._batch:
            self._batch = self._reader.take()
            self._since = self._beat if self._batch else 0.0
        return self._batch

    def _flush(self, budget: CpuBudget) -> float:
        """Everything there is, if the ledger takes it and the loop can spare the time; returns the
        seconds to keep away from the ring."""
        pause = 0.0
        while not self._stop.is_set():
            size = len(self._take())
            if size and not self._save():
                return self._backoff.pause()
            pause = budget.pause()
            if size < BATCH or pause:
                break
        self._prune()
        return pause

    def _drain(self) -> None:
        deadline = time.monotonic() + STOP_PATIENCE
        while self._take():
            if self._save():
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                return self._rescue()
            time.sleep(min(RETRY_FIRST, left))
        return None

    def _save(self) -> bool:
        """The waiting batch into the ledger, then to the direct sinks."""
        if self._ledger is not None:
            try:
                self._into(self._ledger)
            except Exception as error:  # a full disk, a lock, a damaged file
                self._failed("ledger", error)
                if is_damage(error):
                    self._put_damaged_aside(self._ledger)
                return False
            self._worked("ledger")
            self._backoff.reset()
            self._log_replaced(self._ledger)
        self._on_written()
        self._done()
        return True

    def _into(self, ledger: Ledger) -> None:
        """Raises, with the batch to be tried again, if the ledger or the file of what it refuses
        fails. Records that are there already are not written twice."""
        if not self._apart:
            try:
                return ledger.write(self._batch)
            except REFUSED as error:
                self._apart, self._reason = self._batch, str(error)
        _, refused = ledger.write_apart(self._apart)
        if refused:
            self._apart = refused  # the others are in
            append(refused_path(ledger.path), to_lines(refused))
            self._note_refused(refused, refused_path(ledger.path))
        self._apart = []
        return None

    def _put_damaged_aside(self, ledger: Ledger) -> None:
        """The next try begins a new one."""
        try:
            aside = ledger.put_aside()
        except OSError as error:
            log.error(f"the ledger {ledger.path} cannot be put aside: {error.strerror}")
        else:
            self._damaged += 1
            log.error(f"the damaged ledger is kept as {aside}; a new one is begun")

    def _log_replaced(self, ledger: Ledger) -> None:
        if (n := ledger.replaced) != self._replaced:
            self._replaced = n
            log.error(f"the ledger {ledger.path} was deleted or replaced while it was open; what "
                      f"comes now is in the file of that name, what was before is not")  # fmt: skip

    def _note_refused(self, refused: list[Record], path: Path) -> None:
        is_first = not self._refused
        self._refused += len(refused)
        self._failures["ledger"] += 1
        self._error = f"ledger: refused: {self._reason}"
        if is_first:
            log.error(f"the ledger refuses {len(refused)} records ({self._reason}); such records "
                      f"are kept in {path}, and the next start tries them again")  # fmt: skip

    def _done(self) -> None:
        """The ledger or the rescue file has the batch."""
        batch, self._batch, self._apart, self._since = self._batch, [], [], 0.0
        for name, sink in self._sinks:
            try:
                sink.write(batch)
            except Exception as error:  # a sink's library may raise anything
                self._failed(name, error)
            else:
                self._worked(name)

    def _failed(self, name: str, error: Exception) -> None:
        self._failures[name] += 1
        self._error = f"{name}: {error}"
        if name not in self._failing:
            self._failing.add(name)
            kept = "; records are kept and it is tried again" if name == "ledger" else ""
            log.warning(f"{name} fails: {error}{kept}")

    def _worked(self, name: str) -> None:
        if name in self._failing:
            self._failing.discard(name)
            log.info(f"{name} works again")

    def _until_prune(self) -> float:
        return max(0.0, self._prune_due - time.monotonic())

    def _prune(self) -> None:
        """Forget what is old, and take in what was rescued, when it is time."""
        if time.monotonic() >= self._prune_due:
            gone = 0
            if self._ledger is not None:
                with contextlib.suppress(Exception):  # locked or full: the next write reports it
                    gone = self._ledger.prune()
                self._log_replaced(self._ledger)
                self._take_in(self._ledger)
            # A whole step gone: more is waiting.
            self._prune_due = time.monotonic() + (0.0 if gone else PRUNE_EVERY)

    def _take_in(self, ledger: Ledger) -> None:
        """Take in what another process that shares the ledger, or an earlier start, left aside."""
        if has_rescued(ledger.path):
            with contextlib.suppress(ZeroproxyError, OSError):  # later then; the file is kept
                taken, refused = take_in(ledger)
                self._refused += refused
                log.info(f"the ledger took in {taken} rescued records")

    # ------------------------------------------------------------ the last resort

    def _rescue(self) -> None:
        """The ledger does not take it and the process ends."""
        assert self._ledger is not None
        path = rescue_path(self._ledger.path)
        kept, lost = [0, 0], [0, 0]
        while self._take():
            batch = self._apart or self._batch
            counts = kept if self._put_aside(path, batch) else lost
            counts[0] += len(batch)
            counts[1] += amount(batch)
            self._done()
        if kept[0]:
            log.warning(f"the ledger fails; {kept[0]} records of {kept[1]} requests are in {path}, "
                        f"the next start takes them in")  # fmt: skip
        if lost[0]:
            log.error(f"the ledger fails and {path} cannot be written: {lost[0]} records of "
                      f"{lost[1]} requests ARE LOST")  # fmt: skip

    def _put_aside(self, path: Path, batch: list[Record]) -> bool:
        try:
            append(path, to_lines(batch))
        except OSError as error:
            log.error(f"{path} cannot be written: {error.strerror}")
            return False
        return True
