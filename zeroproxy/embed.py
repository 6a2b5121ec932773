"""zeroproxy inside somebody else's asyncio program.

    async with zeroproxy.Proxy(config) as proxy:
        print(proxy.listen, proxy.admin_url)

Any running loop will do, uvloop or not; several proxies may live in one process, each with a thread
for its streams that needs neither the loop nor the GIL. Signals are the program's business; leaving
the block drains.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from zeroproxy.config import Config
from zeroproxy.server.worker import Worker


class Proxy:
    """One proxy on the running loop.

    Raises ConfigError (an endpoint cannot be resolved) or ListenError (an address is taken) on
    entry; nothing is left open then.
    """

    def __init__(self, config: Config) -> None:
        self._worker = Worker(config)

    async def start(self) -> None:
        await self._worker.start()

    async def stop(self, timeout: float | None = None) -> int:
        """Drain for `timeout` seconds (default: server.drain_timeout), then cut. Returns how many
        connections were cut."""
        return await self._worker.stop(timeout)

    async def __aenter__(self) -> Proxy:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop(0 if error is not None else None)

    async def reload(self, config: Config) -> list[str]:
        """Put another configuration in force while exchanges run; returns the keys that changed.
        Raises ReloadError, with the old one untouched (docs/reload.md)."""
        return await self._worker.reloader.reload(config)

    @property
    def listen(self) -> list[str]:
        """URLs of the data listeners, with the ports the kernel chose."""
        return self._worker.listen

    @property
    def admin_url(self) -> str:
        """URL of the admin listener; empty if admin.listen is empty."""
        return self._worker.admin_url

    def ready(self) -> tuple[bool, list[str]]:
        """Whether an endpoint accepts connections, and if not, why."""
        return self._worker.ready()

    def snapshot(self) -> dict[str, Any]:
        """Counters, gauges and histograms as plain values; the shape is that of GET /status."""
        return self._worker.snapshot()
