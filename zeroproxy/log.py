"""Lines for the operator: the logger "zeroproxy", and the handler of a process that is the proxy.

Every module logs to the child of its own name. Nothing but commands/, sim/ and loadtest/ prints.

Law 1. Logging never waits for stderr: a thread writes, behind a bounded queue. Lines that do not
       fit are dropped and counted.
Law 2. Only the command line installs the handler. A program that embeds the proxy decides itself
       about the lines; until it does they go nowhere (zeroproxy/__init__.py).
Tests: tests/unit/test_log.py.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import select
import threading
import time
from collections.abc import Iterator

log = logging.getLogger("zeroproxy")

QUEUE_MAX = 1024  # lines
CLOSE_PATIENCE = 1.0  # seconds that the last lines get
STDERR = 2


def write_some(fd: int, data: memoryview) -> int:
    """Bytes of `data` that are written, at least one, however long the reader takes. Raises
    OSError."""
    while True:
        try:
            return os.write(fd, data)
        except BlockingIOError:  # somebody else has made the pipe non-blocking
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()


class StderrHandler(logging.Handler):
    """Time, level and message of each record, one line each, to a descriptor."""

    def __init__(self, fd: int = STDERR) -> None:
        super().__init__()
        form = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        form.converter = time.gmtime
        self.setFormatter(form)
        self.dropped = 0
        self._fd = fd
        self._queue: queue.Queue[str | None] = queue.Queue(QUEUE_MAX)
        self._thread = threading.Thread(target=self._run, name="zeroproxy-stderr", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._queue.put_nowait(self.format(record))
        except Exception:  # full, or a record that cannot be formatted: nobody is to fail by it
            self.dropped += 1

    def close(self) -> None:
        """The last lines, for CLOSE_PATIENCE at most; what is stuck is left behind."""
        deadline = time.monotonic() + CLOSE_PATIENCE
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=CLOSE_PATIENCE)
        self._thread.join(max(0.0, deadline - time.monotonic()))
        super().close()

    def _run(self) -> None:
        reported = 0
        while (line := self._queue.get()) is not None:
            self._write(line)
            if (dropped := self.dropped) != reported and self._queue.empty():
                self._write(f"{dropped - reported} lines were dropped: stderr was not read")
                reported = dropped

    def _write(self, line: str) -> None:
        rest = memoryview((line + "\n").encode("utf-8", "replace"))
        try:
            while rest:
                rest = rest[write_some(self._fd, rest) :]
        except OSError:
            self.dropped += 1


@contextlib.contextmanager
def on_stderr() -> Iterator[StderrHandler]:
    """While it lasts, lines of the proxy and warnings of its libraries go to stderr."""
    root = logging.getLogger()
    before = log.level
    handler = StderrHandler()
    root.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        log.setLevel(before)
        handler.close()
