"""The process in whose place a worker serves, as the worker sees it (handover_new.py)."""

from __future__ import annotations

from typing import Any, Protocol

from zeroproxy.server.listener import Bound

#: The phase of a worker in whose place another process serves.
HANDED_OVER = "handed over"


class Predecessor(Protocol):
    def bind(self, address: str) -> Bound:
        """Its listener of this address, or a new one. Raises ListenError."""

    async def relieve(self, worker: Any) -> None:
        """Wait until `worker` is ready, and let the other process stop accepting. Raises
        ZeroproxyError: it goes on."""
