"""The admin listener on a running loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Collection
from typing import Protocol

from aiohttp import web

from zeroproxy.admin.app import AdminSource, create_app
from zeroproxy.admin.audit import Audit
from zeroproxy.admin.connection_limit import BACKLOG, MOST, ConnectionLimit


class BoundSocket(Protocol):
    """A socket that listens, and where it is reached."""

    sock: socket.socket
    url: str

    def close(self) -> None: ...


class AdminServer:
    """`start` serves on `bound`, which is its own from then on; `stop` closes it. At most `most`
    connections at once. `token`, `names` and `audit` (admin.audit) are called for every request."""

    def __init__(
        self,
        source: AdminSource,
        bound: BoundSocket,
        *,
        token: Callable[[], str] = lambda: "",
        names: Callable[[], Collection[str]] = tuple,
        audit: Callable[[], str] = lambda: "",
        most: int = MOST,
    ) -> None:
        self.bound, self.url = bound, bound.url
        self._limit = ConnectionLimit(most)
        # No browser reaches a unix socket, whatever its Host.
        known = None if bound.url.startswith("unix:") else names
        self.audit = Audit(audit)
        app = create_app(source, token, known, self.audit)
        app.middlewares.insert(0, self._limit.guard)
        # Handlers end when their caller leaves: a report that nobody waits for is no work.
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True
        )
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        self._server = await asyncio.get_running_loop().create_server(
            lambda: self._limit.protocol(server), sock=self.bound.sock, backlog=BACKLOG
        )

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()
        self.bound.close()
        await asyncio.to_thread(self.audit.close)
