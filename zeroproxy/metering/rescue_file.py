"""Records that the ledger did not take: JSON lines beside it, which a later start takes in.

`.rescue.jsonl`: the process ended before the ledger took them. `.refused.jsonl`: the ledger works,
but refuses these records, or the lines cannot be read.

Law 1. A file goes only after its records are in the ledger; what is read twice is there once.
Law 2. Several processes may share the files. A process that appends or takes away holds a lock
       (flock) on the file that has the name at that moment. A process that takes a file in renames
       it under the lock and keeps the lock. So no other appends to it, or takes it in too.
Law 3. Lines that cannot be used are kept, never dropped.
Tests: tests/unit/test_refused.py.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import orjson

from zeroproxy.errors import ZeroproxyError
from zeroproxy.metering.ledger import Ledger
from zeroproxy.metering.ledger_errors import why
from zeroproxy.metering.rows import Record

CHUNK = 1000  # lines per transaction
LOCK_RETRY, LOCK_PATIENCE = 0.01, 5.0  # seconds; the lock is held for one write


def rescue_path(ledger: Path) -> Path:
    return ledger.with_name(f"{ledger.name}.rescue.jsonl")


def refused_path(ledger: Path) -> Path:
    return ledger.with_name(f"{ledger.name}.refused.jsonl")


def claimed(path: Path) -> list[Path]:
    """Names that files of `path` have while they are taken in."""
    start = f"{path.name}.taking-"
    with contextlib.suppress(OSError):
        return sorted(p for p in path.parent.iterdir() if p.name.startswith(start))
    return []


def has_rescued(ledger: Path) -> bool:
    path = rescue_path(ledger)
    return path.exists() or bool(claimed(path))


# ---------------------------------------------------------------- locks


def is_named(path: Path, fd: int) -> bool:
    """True where `path` is the name of the open file `fd`."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(status, os.fstat(fd))


def try_lock(path: Path, flags: int = 0) -> int:
    """A locked descriptor of the file that is at `path`; closing it unlocks. Raises
    BlockingIOError if another has the lock, or had it and took the file away."""
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | flags, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not is_named(path, fd):
            raise BlockingIOError("it was taken away")
    except BaseException:
        os.close(fd)
        raise
    return fd


def lock(path: Path, flags: int = 0) -> int:
    """The same, waited for. Raises OSError."""
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            return try_lock(path, flags)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
        time.sleep(LOCK_RETRY)


def append(path: Path, lines: Iterable[bytes]) -> None:
    """Lines at the end of `path`, on the disk when this returns. Raises OSError."""
    with os.fdopen(lock(path, os.O_CREAT), "ab") as out:
        # An empty line first: a half-written one of earlier must not swallow ours.
        out.write(b"\n" + b"".join(line.rstrip(b"\n") + b"\n" for line in lines))
        out.flush()
        os.fsync(out.fileno())


def to_lines(batch: Sequence[Record]) -> list[bytes]:
    return [orjson.dumps(record, default=repr) for record in batch]


# ---------------------------------------------------------------- taking in


def claim(path: Path) -> Iterator[tuple[Path, int]]:
    """Files to take in, each with a locked descriptor. First those that a process claimed before it
    died, then the one at `path`, under a name of its own."""
    for name in claimed(path):
        with contextlib.suppress(OSError):  # another is at it, or has done it
            yield name, try_lock(name)
    try:
        fd = lock(path)
    except FileNotFoundError:
        return
    name = path.with_name(f"{path.name}.taking-{secrets.token_hex(4)}")
    try:
        path.rename(name)
    except BaseException:
        os.close(fd)
        raise
    yield name, fd


def give_back(name: Path, path: Path) -> None:
    """Its usual name again, unless there is a new file of that name; a later start finds both."""
    with contextlib.suppress(OSError):
        os.link(name, path)
        name.unlink()


def take_in(ledger: Ledger, refused_too: bool = False) -> tuple[int, int]:
    """Move the rescue file, if there is one, into the ledger. With `refused_too`, records that were
    refused before are tried again. Returns (records taken, lines refused). Raises ZeroproxyError if
    the ledger does not take them now; the file is kept then."""
    taken = refused = 0
    paths = [refused_path(ledger.path)] if refused_too else []
    for path in [*paths, rescue_path(ledger.path)]:
        try:
            for name, fd in claim(path):
                got, bad = take_file(ledger, path, name, fd)
                taken += got
                refused += bad
        except OSError as error:
            raise ZeroproxyError(f"{path} cannot be taken in: {error.strerror}") from None
    return taken, refused


def take_file(ledger: Ledger, path: Path, name: Path, fd: int) -> tuple[int, int]:
    taken, refused = 0, []
    with os.fdopen(fd, "rb") as file:
        try:
            lines = [line for line in file.read().split(b"\n") if line.strip()]
            for at in range(0, len(lines), CHUNK):
                got, bad = take_chunk(ledger, lines[at : at + CHUNK])
                taken += got
                refused += bad
            if refused:
                append(refused_path(ledger.path), refused)
            name.unlink()
        except sqlite3.Error as error:
            give_back(name, path)
            raise ZeroproxyError(
                f"the ledger {ledger.path} {why(error)} (reading {path})"
            ) from None
        except BaseException:
            give_back(name, path)
            raise
    return taken, len(refused)


def take_chunk(ledger: Ledger, lines: Sequence[bytes]) -> tuple[int, list[bytes]]:
    records, refused = [], []
    for line in lines:
        record = parse(line)
        if record is None:
            refused.append(line)
        else:
            records.append(record)
    taken, bad = ledger.write_apart(records)
    return taken, refused + to_lines(bad)


def parse(line: bytes) -> Record | None:
    try:
        record = orjson.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("id"), str) else None
