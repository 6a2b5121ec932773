"""Usage into a file of JSON lines, each row once: a note beside it holds how far it is valid.

The note, PATH.cursor, holds the ledger, the last seq and the file's size after it. A batch is
appended and synced, then the note is written. Bytes behind the noted size after a crash are an
unfinished batch, which is cut off and written again.

Limits. Nobody else may append to the file. It may be emptied or renamed away; a new one is begun
then. If that happens in the very moment of a crash, one batch may be in both files.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

import orjson

from zeroproxy.errors import ZeroproxyError
from zeroproxy.metering.rows import Record

# One write of one sector: it is there whole or not at all.
NOTE_BYTES = 256


class JsonlOutbox:
    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._note_path = self._path.with_name(f"{self._path.name}.cursor")
        self._note = -1  # descriptor, locked while this sink is in use

    def deliver(self, ledger_id: str, after: int, rows: Sequence[Record]) -> int:
        self._open()
        noted_ledger, noted_seq, noted_size = self._read_note()
        done = noted_seq if noted_ledger == ledger_id else 0
        new = [row for row in rows if row["seq"] > done]
        if not new:
            return max(done, int(rows[-1]["seq"]))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        with os.fdopen(os.open(self._path, flags, 0o600), "ab") as out:
            if noted_ledger and os.fstat(out.fileno()).st_size > noted_size:
                out.truncate(noted_size)
            out.write(b"".join(to_line(ledger_id, row) for row in new))
            out.flush()
            os.fsync(out.fileno())
            size = os.fstat(out.fileno()).st_size
        self._write_note(ledger_id, int(new[-1]["seq"]), size)
        return int(new[-1]["seq"])

    def _open(self) -> None:
        if self._note < 0:
            fd = os.open(self._note_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(fd)
                raise ZeroproxyError(f"{self._path} is in use by another process") from None
            self._note = fd
            if not os.fstat(fd).st_size:
                # A file that was there before is kept as it is.
                size = self._path.stat().st_size if self._path.exists() else 0
                self._write_note("-", 0, size)

    def _read_note(self) -> tuple[str, int, int]:
        text = os.pread(self._note, NOTE_BYTES, 0)
        try:
            ledger_id, seq, size = orjson.loads(text)
            return str(ledger_id), int(seq), int(size)
        except (ValueError, TypeError):
            raise ZeroproxyError(f"{self._note_path} is damaged; remove it to go on") from None

    def _write_note(self, ledger_id: str, seq: int, size: int) -> None:
        os.pwrite(self._note, orjson.dumps([ledger_id, seq, size]).ljust(NOTE_BYTES - 1) + b"\n", 0)
        os.fsync(self._note)

    def probe(self) -> None:
        target = self._path if self._path.exists() else self._path.parent
        if not os.access(target, os.W_OK) or self._path.is_dir():
            raise ZeroproxyError(f"{self._path} cannot be written")

    def secrets(self) -> Sequence[str]:
        return ()

    def close(self) -> None:
        if self._note >= 0:
            os.close(self._note)
            self._note = -1


def to_line(ledger_id: str, row: Record) -> bytes:
    """Columns as they are in the ledger; NULL is left out."""
    known = {name: value for name, value in row.items() if value is not None}
    return orjson.dumps({"ledger_id": ledger_id, **known}, option=orjson.OPT_APPEND_NEWLINE)
