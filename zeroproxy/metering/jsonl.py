"""The access log: one JSON line per exchange, formatted in the flusher's thread."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from zeroproxy.errors import ZeroproxyError


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


class JsonlSink:
    def __init__(self, out: BinaryIO, owned: bool) -> None:
        self._out = out
        self._owned = owned

    def write(self, batch: list[dict[str, Any]]) -> None:
        self._out.write(b"".join(map(to_line, batch)))
        self._out.flush()

    def close(self) -> None:
        if self._owned:
            self._out.close()


def open_sink(spec: str) -> JsonlSink:
    """`jsonl:stdout` or `jsonl:PATH` (appended). Raises ZeroproxyError if it cannot be opened."""
    where = spec.removeprefix("jsonl:")
    if where in ("stdout", "-"):
        return JsonlSink(sys.stdout.buffer, owned=False)
    try:
        return JsonlSink(Path(where).open("ab"), owned=True)
    except OSError as error:
        raise ZeroproxyError(f"log.access: cannot write {where}: {error.strerror}") from None
