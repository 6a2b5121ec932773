"""The process in whose place a worker serves, as the worker sees it (handover_new.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from zeroproxy.server.listener import Bound

if TYPE_CHECKING:
    from zeroproxy.server.worker import Worker

#: The phase of a worker in whose place another process serves.
HANDED_OVER = "handed over"


class Predecessor(Protocol):
    def bind(self, address: str) -> Bound:
        """Its listener of this address, or a new one. Raises ListenError."""

    async def relieve(self, worker: Worker) -> None:
        """Wait until `worker` is ready, and let the other process stop accepting. Raises
        ZeroproxyError: it goes on."""
