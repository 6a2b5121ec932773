"""The access log as one sink for life, whatever file is behind it: a reload opens another.

Law. A batch goes whole to one file: the old one is closed when the batch that is being written to
     it has ended, so a rotation (rename, then SIGHUP) loses and splits no line.
"""

from __future__ import annotations

import threading
from typing import Any

from zeroproxy.metering.flusher import Sink


class AccessLog:
    """`sink` None: switched off; records are dropped."""

    def __init__(self, sink: Sink | None) -> None:
        self._sink = sink
        self._closed = False
        self._lock = threading.Lock()

    def write(self, batch: list[dict[str, Any]]) -> None:
        with self._lock:
            if self._sink is not None:
                self._sink.write(batch)

    def switch(self, sink: Sink | None) -> None:
        """Write to `sink` from now on. Waits for a batch under way: call it from a thread."""
        with self._lock:
            if self._closed:
                old = sink
            else:
                old, self._sink = self._sink, sink
        if old is not None:
            old.close()

    def close(self) -> None:
        with self._lock:
            old, self._sink, self._closed = self._sink, None, True
        if old is not None:
            old.close()
