"""The admin listener on a running loop."""

from __future__ import annotations

import socket
from collections.abc import Callable

from aiohttp import web

from zeroproxy.admin.app import AdminSource, create_app
from zeroproxy.errors import ListenError


class AdminServer:
    """`start` binds and serves; `stop` closes. Raises ListenError with a sentence. `sock`: one that
    is bound to `address` already; whoever brings it closes it."""

    def __init__(
        self,
        source: AdminSource,
        address: str,
        token: Callable[[], str] = lambda: "",
        sock: socket.socket | None = None,
    ) -> None:
        self._address, self._sock = address, sock
        app = create_app(source, token)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self.url = ""

    def _site(self) -> web.BaseSite:
        if self._sock is not None:
            return web.SockSite(self._runner, self._sock)
        if self._address.startswith("unix:"):
            return web.UnixSite(self._runner, self._address.removeprefix("unix:"))
        host, _, port = self._address.rpartition(":")
        return web.TCPSite(self._runner, host.strip("[]") or None, int(port))

    async def start(self) -> None:
        await self._runner.setup()
        try:
            await self._site().start()
        except OSError as error:
            await self._runner.cleanup()
            raise ListenError(
                f"cannot listen on {self._address} (admin): {error.strerror or error}"
            ) from None
        where = self._runner.addresses[0]
        if isinstance(where, str):
            self.url = f"unix:{where}"
        else:
            host = f"[{where[0]}]" if ":" in where[0] else where[0]
            self.url = f"http://{host}:{where[1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()
