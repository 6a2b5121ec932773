"""zeroproxy inside another asyncio program.

    async with zeroproxy.Proxy(config) as proxy:
        print(proxy.listen, proxy.admin_url)

Any running loop will do, uvloop or not. Several proxies may live in one process. Each has a thread
for its streams, which needs neither the loop nor the GIL. The program handles signals; leaving the
block drains.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from types import TracebackType
from typing import Any

from zeroproxy.config.load import complete
from zeroproxy.config.schema import Config
from zeroproxy.errors import ConfigError
from zeroproxy.server.worker import Worker

#: Those that run in this process.
RUNNING: weakref.WeakSet[Worker] = weakref.WeakSet()


def leave_to_parent() -> None:
    """In a child of fork(): give up the listeners, which else would be open until the child ends.
    Nothing more: the loop and the thread of the data plane are the parent's."""
    for worker in RUNNING:
        for bound in worker.listeners():
            bound.sock.close()
    RUNNING.clear()


os.register_at_fork(after_in_child=leave_to_parent)


class Proxy:
    """One proxy on the running loop. It is started once.

    Raises ConfigError at once if `config` cannot be used. On entry: ConfigError (an endpoint cannot
    be resolved) or ListenError (an address is taken); nothing is left open then.
    """

    def __init__(self, config: Config) -> None:
        if not isinstance(config, Config):
            raise TypeError(f"Proxy takes a Config, not a {type(config).__name__}; load_config("
                            "path) reads one")  # fmt: skip
        config = complete(config)
        if config.server.handover:
            raise ConfigError("is for `zeroproxy` as a process; a program that embeds the proxy "
                              "passes sockets on itself (fd:N)", key="server.handover")  # fmt: skip
        self._worker = Worker(config)
        self._process = 0
        self._stopping: asyncio.Task[int] | None = None
        self._obeying: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises RuntimeError if it was started before."""
        if self._process:
            raise RuntimeError("start() was called before: a Proxy is started once")
        self._process = os.getpid()
        try:
            await self._worker.start()
        except BaseException:
            self._process = 0
            raise
        RUNNING.add(self._worker)
        self._obeying = asyncio.create_task(self._obey_drain())

    async def stop(self, timeout: float | None = None) -> int:
        """Drain for `timeout` seconds (default: server.drain_timeout), then cut. Returns how many
        connections were cut. Another call waits for the same stop, and cuts after its own `timeout`
        seconds. A call that is cancelled leaves the stop to end by itself."""
        if not self._process:
            return 0
        self._need_own_process()
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(timeout))
        elif timeout is not None:
            await self._cut_after(self._stopping, timeout)
        cut = await asyncio.shield(self._stopping)
        if self._obeying is not None and asyncio.current_task() is not self._obeying:
            await asyncio.wait({self._obeying})
        return cut

    async def wait_stopped(self) -> int:
        """Wait until it has stopped, by stop() or by POST /-/drain of its admin. Returns what
        stop() does."""
        self._need_started()
        assert self._obeying is not None
        await asyncio.shield(self._obeying)
        return await self.stop()

    async def _obey_drain(self) -> None:
        await self._worker.drain_requested.wait()
        await self.stop()

    async def _stop(self, timeout: float | None) -> int:
        try:
            return await self._worker.stop(timeout)
        finally:
            RUNNING.discard(self._worker)
            self._worker.drain_requested.set()  # ends the tasks that wait for a drain

    async def _cut_after(self, stopping: asyncio.Task[int], timeout: float) -> None:
        await asyncio.wait({stopping}, timeout=timeout)
        if not stopping.done():
            self._worker.cut_now()

    def _need_started(self) -> None:
        if not self._process:
            raise RuntimeError("the proxy is not running: start() comes first")
        self._need_own_process()

    def _need_own_process(self) -> None:
        if self._process not in (0, os.getpid()):
            raise RuntimeError("the proxy runs in the process that started it, not in its fork")

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
        self._need_started()
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
        """(an endpoint accepts connections, the reasons if none does)."""
        self._need_own_process()
        return self._worker.ready()

    def snapshot(self) -> dict[str, Any]:
        """Counters, gauges and histograms as plain values; the shape is that of GET /status."""
        self._need_started()
        return self._worker.snapshot()
