"""Both sides of server.handover in the life of a process: it may take over, and be relieved later.

handover.connect(), bind()      before its worker starts
handover.begin(worker)          when the worker accepts
handover.stop()                 before the worker stops
"""

from __future__ import annotations

from collections.abc import Callable

from zeroproxy.server.handover_new import Takeover
from zeroproxy.server.handover_old import HandoverListener, listen_for_upgrades
from zeroproxy.server.listener import Bound
from zeroproxy.server.worker import Worker


class Handover:
    """`on_relieved` is called when this process has taken over; None: it takes over from nobody."""

    def __init__(self, address: str, on_relieved: Callable[[Takeover], None] | None) -> None:
        self._address, self._on_relieved = address, on_relieved
        self._takeover: Takeover | None = None
        self._bound: Bound | None = None
        self._listener: HandoverListener | None = None

    async def connect(self) -> Takeover | None:
        """Raises HandoverError."""
        if self._on_relieved is not None:
            self._takeover = await Takeover.connect(self._address)
        return self._takeover

    def bind(self) -> None:
        """Raises ListenError."""
        if self._takeover is not None:
            self._bound = self._takeover.take(self._address)
        if self._address and self._bound is None:
            self._bound = listen_for_upgrades(self._address)

    async def begin(self, worker: Worker) -> None:
        """Let the old process go, and wait for the next one. Raises HandoverError: the old one goes
        on, and `worker` has to stop."""
        if self._takeover is not None and self._on_relieved is not None:
            await self._takeover.confirm()
            self._on_relieved(self._takeover)
            self._takeover.release()
        if self._bound is not None:
            self._listener = HandoverListener(worker, self._bound)
            self._listener.start()

    async def stop(self) -> None:
        if self._listener is not None:
            await self._listener.stop()
        elif self._bound is not None:
            self._bound.close()
        if self._takeover is not None:
            self._takeover.release()
