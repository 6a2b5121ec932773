"""The standard streams of a command, which may be closed, full, or a pipe that nobody reads.

Law 1. The output of a command is its result: where it cannot be written, that is one error, once.
       A pipe whose reader has left is no error: the rest is dropped, the exit status stays.
Law 2. Descriptors 0 to 2 are always open, so that no file or socket takes their number.
Tests: tests/unit/test_cli_streams.py, tests/e2e/test_operator.py.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

from zeroproxy.errors import ZeroproxyError


class OutputError(ZeroproxyError):
    """Standard output cannot be written. Not an OSError: nobody takes it for one of its own."""


class Output(io.FileIO):
    """Standard output. After its first failure everything is dropped, so that nothing fails again
    when Python flushes at its end."""

    def __init__(self, failure: int = 0) -> None:
        super().__init__(1, "w", closefd=False)
        self.failure, self._drops = failure, False

    def write(self, data: Any) -> int:
        if self._drops:
            return memoryview(data).nbytes
        if not self.failure:
            try:
                return super().write(data) or 0
            except OSError as error:
                self.failure = error.errno or errno.EIO
        self._drops = True
        if self.failure == errno.EPIPE:
            return memoryview(data).nbytes
        if self.failure == errno.EBADF:
            raise OutputError("standard output is closed")
        raise OutputError(f"standard output cannot be written: {os.strerror(self.failure)}")


def open_missing() -> list[int]:
    """Open /dev/null in place of each standard descriptor that is closed; returns their numbers."""
    missing = []
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            os.set_inheritable(number, True)
            missing.append(number)
    return missing


def install() -> None:
    """Replace sys.stdout, and whatever standard stream is closed, for the rest of the process."""
    missing = open_missing()
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    old = sys.stdout
    raw = Output(errno.EBADF if 1 in missing or old is None else 0)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=old.encoding if old is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=bool(getattr(old, "line_buffering", 0) or getattr(old, "write_through", 0)),
    )
