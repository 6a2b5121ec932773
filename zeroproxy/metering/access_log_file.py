"""The access log's lines and its file: one JSON line per exchange."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from zeroproxy.errors import ZeroproxyError
from zeroproxy.log import write_some

STDOUT = 1
NEWLINE = b"\n"
MODE = 0o600  # of a file that is made: lines name tenants and models


def to_line(record: dict[str, Any]) -> bytes:
    """Times leave as RFC 3339 and milliseconds: what log pipelines and people read."""
    shown = {"time": datetime.fromtimestamp(record["time_ns"] / 1e9, UTC).isoformat()}
    for name, value in record.items():
        if name == "time_ns" or value is None:
            continue
        if name.endswith("_ns"):
            shown[name.removesuffix("_ns") + "_ms"] = round(value / 1e6, 3)
        else:
            shown[name] = value
    return orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE)


class LogFile:
    """A descriptor that lines are appended to. `write` and `close` are for one thread."""

    def __init__(self, fd: int, owned: bool, torn: bool = False) -> None:
        self.owned = owned
        self._fd = fd
        self._torn = torn  # the file ends in the middle of a line

    def write(self, lines: bytes) -> None:
        """Append whole lines. Raises LostLines if a disk fills, perhaps in mid-line: the next call
        begins a new line then."""
        data = memoryview(NEWLINE + lines if self._torn else lines)
        done = 0
        try:
            while done < len(data):
                done += write_some(self._fd, data[done:])
        except OSError as error:
            behind = max(0, done - (len(data) - len(lines)))
            raise LostLines(lines[behind:].count(NEWLINE), error) from None
        finally:
            if done:
                self._torn = bytes(data[done - 1 : done]) != NEWLINE

    def close(self) -> None:
        if self.owned:
            with contextlib.suppress(OSError):
                os.close(self._fd)


class LostLines(OSError):
    """Lines that are not whole in the file, and why."""

    def __init__(self, n: int, error: OSError) -> None:
        super().__init__(error.errno, error.strerror)
        self.n = n


def open_sink(spec: str, key: str = "log.access") -> LogFile:
    """`jsonl:stdout` or `jsonl:PATH` (appended). Raises ZeroproxyError if it cannot be opened."""
    where = spec.removeprefix("jsonl:")
    if where in ("stdout", "-"):
        return LogFile(STDOUT, owned=False)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        # A pipe without a reader is an error, not an endless wait.
        fd = os.open(where, flags | os.O_NONBLOCK, MODE)
    except OSError as error:
        unread = error.errno == errno.ENXIO and Path(where).is_fifo()
        why = "no process reads it" if unread else error.strerror
        raise ZeroproxyError(f"{key}: cannot write {where}: {why}") from None
    os.set_blocking(fd, True)
    return LogFile(fd, owned=True, torn=is_torn(where, fd))


def is_torn(where: str, fd: int) -> bool:
    """True where a file that was there before ends in the middle of a line."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        return False
    with contextlib.suppress(OSError), open(where, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != NEWLINE
    return False
