"""What the ledger did not take before the process ended: JSON lines that the next start takes in.

Law. The file goes only after its records are in the ledger; what is read twice is there once.
     Lines that cannot be used are kept in a file of their own, never dropped.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import orjson

from zeroproxy.errors import ZeroproxyError
from zeroproxy.metering.ledger import Ledger, why
from zeroproxy.metering.rows import REFUSED, Record

CHUNK = 1000  # lines per transaction


def rescue_path(ledger: Path) -> Path:
    return ledger.with_name(f"{ledger.name}.rescue.jsonl")


def refused_path(ledger: Path) -> Path:
    return ledger.with_name(f"{ledger.name}.refused.jsonl")


def append(path: Path, lines: Iterable[bytes]) -> None:
    """Lines at the end of `path`, on the disk when this returns. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "ab") as out:
        # An empty line first: a half-written one of earlier must not swallow ours.
        out.write(b"\n" + b"".join(line.rstrip(b"\n") + b"\n" for line in lines))
        out.flush()
        os.fsync(out.fileno())


def to_lines(batch: Sequence[Record]) -> list[bytes]:
    return [orjson.dumps(record, default=repr) for record in batch]


def take_in(ledger: Ledger) -> tuple[int, int]:
    """Move the rescue file, if there is one, into the ledger: (records taken, lines refused).
    Raises ZeroproxyError if the ledger does not take them now; the file is kept then."""
    path = rescue_path(ledger.path)
    try:
        lines = [line for line in path.read_bytes().split(b"\n") if line.strip()]
    except FileNotFoundError:
        return 0, 0
    except OSError as error:
        raise ZeroproxyError(f"{path} cannot be read: {error.strerror}") from None
    taken, refused = 0, []
    try:
        for at in range(0, len(lines), CHUNK):
            got, bad = take_chunk(ledger, lines[at : at + CHUNK])
            taken += got
            refused += bad
        if refused:
            append(refused_path(ledger.path), refused)
        path.unlink()
    except sqlite3.Error as error:
        raise ZeroproxyError(f"the ledger {ledger.path} {why(error)} (reading {path})") from None
    except OSError as error:
        raise ZeroproxyError(f"{path} cannot be taken in: {error.strerror}") from None
    return taken, len(refused)


def take_chunk(ledger: Ledger, lines: Sequence[bytes]) -> tuple[int, list[bytes]]:
    records, refused = [], []
    for line in lines:
        record = parse(line)
        if record is None:
            refused.append(line)
        else:
            records.append(record)
    try:
        return ledger.write_missing(records), refused
    except REFUSED:
        if len(lines) == 1:
            return 0, list(lines)
    taken = 0
    refused = []
    for line in lines:
        got, bad = take_chunk(ledger, [line])
        taken += got
        refused += bad
    return taken, refused


def parse(line: bytes) -> Record | None:
    try:
        record = orjson.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("id"), str) else None
