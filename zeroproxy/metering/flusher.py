"""The consumer thread of the ring: records out in batches, to every sink, in order.

Law 1. The loop never waits for a sink: the thread does.
Law 2. `stop` takes what is left in the ring before it closes the sinks; SIGTERM loses nothing.
Law 3. A sink that fails is reported once and tried again with the next batch; it never stops the
       thread.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

INTERVAL = 0.2  # seconds between two batches
BATCH = 1024  # records per batch


class Sink(Protocol):
    """Where records go. `write` gets a non-empty batch, oldest first."""

    def write(self, batch: list[dict[str, Any]]) -> None: ...

    def close(self) -> None: ...


class Flusher:
    def __init__(self, take: Callable[[int], list[dict[str, Any]]], sinks: Sequence[Sink]) -> None:
        self._take = take
        self._sinks = sinks
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="zeroproxy-flusher", daemon=True)
        self._failing: set[int] = set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Flush what is left and close the sinks. Blocks; call it from a thread."""
        self._stop.set()
        self._thread.join()
        for sink in self._sinks:
            sink.close()

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        while batch := self._take(BATCH):
            for number, sink in enumerate(self._sinks):
                self._write(number, sink, batch)

    def _write(self, number: int, sink: Sink, batch: list[dict[str, Any]]) -> None:
        try:
            sink.write(batch)
            self._failing.discard(number)
        except Exception as error:  # a sink's library may raise anything
            if number not in self._failing:
                self._failing.add(number)
                print(f"zeroproxy: a sink fails: {error!r}", file=sys.stderr, flush=True)
