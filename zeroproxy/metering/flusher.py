"""The consumer thread of the ring: records out in batches, into the ledger, then to direct sinks.

Law 1. The loop never waits for a sink: the thread does.
Law 2. The ledger must succeed. Until it has a batch nothing more is taken from the ring; what the
       ring cannot hold meanwhile is counted in C (`overflow`) and becomes synthetic records later.
       Memory is bounded: one batch.
Law 3. Direct sinks (access log, traces) get each batch once, after the ledger. One that fails is
       reported once, counted, and tried again with the next batch; it never stops the thread.
Law 4. While callers need the whole core, it takes little of it (restraint.py). While nobody
       calls, it sleeps until the ring wakes it.
Law 5. `stop` takes all that is left before it closes. If the ledger still fails after STOP_PATIENCE
       the rest goes to the rescue file, which the next start takes in: SIGTERM loses nothing.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from zeroproxy.metering.ledger import Ledger
from zeroproxy.metering.rescue import append, refused_path, rescue_path, to_lines
from zeroproxy.metering.restraint import Restraint
from zeroproxy.metering.rows import DEFAULTS, OVERFLOW, REFUSED, Record

# Seconds between two looks at the ring while records come, and what kill -9 loses at most. A record
# after a pause is taken at once. Every look costs some 0.5 ms, mostly because all it needs has left
# the caches meanwhile: hence not more of them.
INTERVAL = 1.0
# Records per transaction. After each the thread looks whether callers need the core (law 4): with
# many more it would take 10 ms and longer from a full one before it does.
BATCH = 256
# Records per call into the engine, which holds the GIL: 64 take some 0.2 ms, and the loop (health,
# admin) may want the interpreter back.
SLICE = 64
RETRY_FIRST, RETRY_LAST = 0.2, 5.0  # seconds between two tries of a ledger that fails
STOP_PATIENCE = 2.0  # seconds a failing ledger gets at the end
PRUNE_EVERY = 60.0  # seconds
PRUNE_PAUSE = 0.2  # seconds between two steps of one pruning

OVERFLOW_KEY = ("upstream", "endpoint", "model", "tenant", "exactness")
OVERFLOW_SUMS = ("count", "prompt_tokens", "completion_tokens", "cached_tokens",
                 "reasoning_tokens", "bytes_in", "bytes_out")  # fmt: skip


class Source(Protocol):
    """The engine, as this thread sees it; it may also have `take_overflow() -> list[Record]`: what
    the ring could not hold since the last call, in rows named by OVERFLOW_KEY."""

    def records(self, n: int) -> list[Record]: ...

    def await_records(self, n: int, seconds: float) -> None: ...

    def wake_consumer(self) -> None: ...


class Sink(Protocol):
    """Where records go directly. `write` gets a non-empty batch, oldest first."""

    def write(self, batch: list[Record]) -> None: ...

    def close(self) -> None: ...


def yield_the_core() -> None:
    """Let the kernel prefer the other threads to the calling one where both want the same core."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def say(line: str) -> None:
    print(f"zeroproxy: {line}", file=sys.stderr, flush=True)


class Inlet:
    """Records of one process, each with its `id` and `count`, and the overflow as records."""

    def __init__(self, source: Source) -> None:
        self._source = source
        # An engine that keeps no such totals has none to add.
        self._overflow: Callable[[], list[Record]] = getattr(source, "take_overflow", list)
        self._boot = secrets.token_hex(8)
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
        """A record for each key. The engine keeps rows apart that have the same names: an endpoint
        that came back at another address, bytes of a model that are no UTF-8."""
        sums: dict[tuple[str, ...], Sequence[int]] = {}
        for row in self._overflow():
            key = tuple(str(row[name]) for name in OVERFLOW_KEY)
            grown = [int(row[name]) for name in OVERFLOW_SUMS]
            if key in sums:
                grown = [a + b for a, b in zip(sums[key], grown, strict=True)]
            sums[key] = grown
        return [self._synthesize(key, grown) for key, grown in sums.items()]

    def _synthesize(self, key: Sequence[str], grown: Sequence[int]) -> Record:
        self._synthetic += 1
        return DEFAULTS | {
            "id": f"{self._boot}-o{self._synthetic}",
            "time_ns": time.time_ns(),
            "outcome": OVERFLOW,
            **dict(zip(OVERFLOW_KEY, key, strict=True)),
            **dict(zip(OVERFLOW_SUMS, grown, strict=True)),
        }


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
        self._inlet = Inlet(source)
        self._ledger = ledger
        self._sinks = sinks
        self._on_written = on_written
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="zeroproxy-flusher", daemon=True)
        self._batch: list[Record] = []  # taken from the ring, not yet in the ledger
        self._failures = {name: 0 for name, _ in sinks}
        self._failing: set[str] = set()
        self._error = ""
        self._retry = 0.0
        self._prune_due = time.monotonic() + PRUNE_EVERY
        if ledger is not None:
            self._failures = {"ledger": 0, **self._failures}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Save what is left and close everything. Blocks; call it from a thread."""
        self._stop.set()
        self._source.wake_consumer()
        self._thread.join()
        for _, sink in self._sinks:
            with contextlib.suppress(Exception):
                sink.close()
        if self._ledger is not None:
            self._ledger.close()

    def state(self) -> dict[str, Any]:
        return {
            "pending": len(self._batch),
            "failures": dict(self._failures),
            "failing": sorted(self._failing),
            "last_error": self._error,
        }

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        yield_the_core()
        restraint = Restraint()
        while not self._stop.is_set():
            # The totals can grow a moment after the look that emptied a full ring: the look that
            # pruning is due for finds them, if no record comes before.
            if not self._batch:
                self._source.await_records(1, self._until_prune())
            rest = self._look(restraint)
            if rest:
                self._stop.wait(rest)
            else:
                self._source.await_records(BATCH, min(INTERVAL, self._until_prune() + PRUNE_PAUSE))
        self._drain()

    def _look(self, restraint: Restraint) -> float:
        """Everything there is, if the ledger takes it and the loop can spare the time; returns the
        seconds to keep away from the ring."""
        rest = 0.0
        while not self._stop.is_set():
            self._batch = self._batch or self._inlet.take()
            size = len(self._batch)
            if size and not self._save():
                return self._retry
            rest = restraint.rest()
            if size < BATCH or rest:
                break
        self._prune()
        return rest

    def _drain(self) -> None:
        deadline = time.monotonic() + STOP_PATIENCE
        while batch := self._batch or self._inlet.take():
            self._batch = batch
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
                self._ledger.write(self._batch)
            except REFUSED as error:
                self._failed("ledger", error)
                self._put_aside(refused_path(self._ledger.path), self._batch)
            except Exception as error:  # a full disk, a lock, a damaged file
                self._failed("ledger", error)
                self._retry = min(max(2 * self._retry, RETRY_FIRST), RETRY_LAST)
                return False
            else:
                self._worked("ledger")
            self._retry = 0.0
        batch, self._batch = self._batch, []
        self._on_written()
        for name, sink in self._sinks:
            self._write(name, sink, batch)
        return True

    def _write(self, name: str, sink: Sink, batch: list[Record]) -> None:
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
            say(f"{name} fails: {error}{kept}")

    def _worked(self, name: str) -> None:
        if name in self._failing:
            self._failing.discard(name)
            say(f"{name} works again")

    def _until_prune(self) -> float:
        return max(0.0, self._prune_due - time.monotonic())

    def _prune(self) -> None:
        """Forget what is old, when it is time."""
        if time.monotonic() >= self._prune_due:
            gone = 0
            if self._ledger is not None:
                with contextlib.suppress(Exception):  # locked or full: the next write will say so
                    gone = self._ledger.prune()
            # A whole step gone: more is waiting.
            self._prune_due = time.monotonic() + (0.0 if gone else PRUNE_EVERY)

    # ------------------------------------------------------------ the last resort

    def _rescue(self) -> None:
        """The ledger does not take it and the process ends."""
        assert self._ledger is not None
        path = rescue_path(self._ledger.path)
        n = lost = 0
        while batch := self._batch or self._inlet.take():
            self._batch = []
            if self._put_aside(path, batch):
                n += len(batch)
            else:
                lost += len(batch)
            for name, sink in self._sinks:
                self._write(name, sink, batch)
        if n:
            say(f"the ledger fails; {n} records are in {path}, the next start takes them in")
        if lost:
            say(f"the ledger fails and {path} cannot be written: {lost} records ARE LOST")

    def _put_aside(self, path: Path, batch: list[Record]) -> bool:
        try:
            append(path, to_lines(batch))
        except OSError as error:
            say(f"{path} cannot be written: {error.strerror}")
            return False
        return True
