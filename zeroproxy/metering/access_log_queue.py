"""The access log as one sink for life, whatever file is behind it: a reload opens another.

Law 1. `write` never waits for the file. A thread writes, behind a bounded queue; a reader that
       stalls costs lines, which are counted, and holds up neither the ledger nor a stop.
Law 2. A batch goes whole to one file. The old file is closed when the lines that wait for it are
       written, or PATIENCE is over. So a rotation (rename, then SIGHUP or SIGUSR1) loses no line
       and splits none.
Tests: tests/unit/test_access.py.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from zeroproxy.metering.access_log_file import LostLines, to_line
from zeroproxy.metering.priority import yield_the_core

log = logging.getLogger(__name__)

QUEUE_BYTES = 4 << 20  # of lines that wait for the file
PATIENCE = 2.0  # seconds a file gets for what waits when it is closed


class Out(Protocol):
    """Where lines go. `owned` False: it is the process's stdout, of which there is one."""

    owned: bool

    def write(self, lines: bytes) -> object: ...

    def close(self) -> None: ...


class Writer:
    """One file and the thread that writes to it. `report` gets the number of lines lost by
    each write and the reason; 0, "": none."""

    def __init__(self, out: Out, report: Callable[[int, str], None]) -> None:
        self.out = out
        self._report = report
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._taken = 0  # lines of the write under way
        self._is_closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="zeroproxy-access-log", daemon=True)
        self._thread.start()

    def offer(self, n: int, lines: bytes) -> bool:
        """Take `n` lines, if they fit."""
        with self._changed:
            if self._bytes and self._bytes + len(lines) > QUEUE_BYTES:
                return False
            self._bytes += len(lines)
            self._waiting.append((n, lines))
            self._changed.notify()
        return True

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    def close(self) -> int:
        """Write what waits, for PATIENCE at most; how many lines were given up. Blocks."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(PATIENCE)
        if not self._thread.is_alive():
            return 0
        # The thread is stuck in the file and left behind with the lines it has taken.
        with self._changed:
            lost = sum(n for n, _ in self._waiting) + self._taken
            self._waiting.clear()
        return lost

    def _run(self) -> None:
        yield_the_core()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closing)
                if not self._waiting:
                    break
                self._taken, lines = self._waiting.popleft()
            self._write(self._taken, lines)
            with self._changed:
                self._bytes -= len(lines)
                self._taken = 0
                is_idle = not self._waiting
            if is_idle:
                self._report(0, "")
        self.out.close()

    def _write(self, n: int, lines: bytes) -> None:
        try:
            self.out.write(lines)
        except LostLines as error:
            self._report(error.n, error.strerror or str(error))
        except Exception as error:
            self._report(n, str(error))


class AccessLog:
    """`out` None: switched off; records are dropped."""

    def __init__(self, out: Out | None) -> None:
        self._lock = threading.Lock()  # which file; never held while one is written to
        self._closed = False
        self._counts = threading.Lock()
        self._failures = self._dropped = 0
        self._error = ""
        self._writer = None if out is None else Writer(out, self._note)

    def write(self, batch: list[dict[str, Any]]) -> None:
        with self._lock:
            writer = self._writer
            if writer is None or writer.offer(len(batch), b"".join(map(to_line, batch))):
                return
        self._note(len(batch), "what reads it does not keep up")

    def switch(self, out: Out | None) -> None:
        """Write to `out` from now on. Waits for the old file: call it from a thread."""
        with self._lock:
            old = self._writer
            if self._closed:
                old = None
                if out is not None:
                    out.close()
            elif old is not None and out is not None and not old.out.owned and not out.owned:
                return  # stdout it was and is
            else:
                self._writer = None if out is None else Writer(out, self._note)
        self._end(old)

    def close(self) -> None:
        with self._lock:
            old, self._writer, self._closed = self._writer, None, True
        self._end(old)

    def _end(self, writer: Writer | None) -> None:
        if writer is not None and (lost := writer.close()):
            self._note(lost, f"it was not read for {PATIENCE:g} s and is given up")

    def _note(self, lost: int, error: str) -> None:
        with self._counts:
            was_failing = bool(self._error)
            self._error = error
            if error:
                self._failures += 1
                self._dropped += lost
        if error and not was_failing:
            log.warning(f"access_log fails: {error}; lines are dropped and counted")
        elif was_failing and not error:
            log.info(f"access_log works again; {self._dropped} lines were dropped since the start")

    def state(self) -> dict[str, Any]:
        writer = self._writer
        return {
            "failures": self._failures,
            "dropped": self._dropped,
            "waiting_bytes": 0 if writer is None else writer.waiting_bytes,
            "last_error": self._error,
        }
