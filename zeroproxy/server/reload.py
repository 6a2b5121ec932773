"""Another configuration for a proxy that runs: read on request, prepared and applied
(apply_config.py), counted.

Tests: tests/unit/test_reload.py, tests/e2e/test_reload.py."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from zeroproxy.config.load import complete
from zeroproxy.config.schema import Config
from zeroproxy.errors import ConfigError, ReloadError, ZeroproxyError, one_line
from zeroproxy.metering.access_log_file import LogFile, open_sink
from zeroproxy.server.apply_config import Candidate, Running, prepare, put_in_force
from zeroproxy.server.endpoints import refusing
from zeroproxy.tasks import cancel

log = logging.getLogger(__name__)


def check(config: Config) -> Config:
    """`config` complete (config/load.py): a program that embeds the proxy may have made it. Raises
    ReloadError."""
    try:
        return complete(config)
    except ConfigError as error:
        raise ReloadError(one_line(str(error))) from None


class Reloader:
    """`read` gives the configuration anew; None: there is no file, and the program that embeds the
    proxy brings the next one."""

    def __init__(self, running: Running, read: Callable[[], Config] | None) -> None:
        self._running, self._read = running, read
        #: One at a time; held while the worker starts.
        self.lock = asyncio.Lock()
        self._done = {"ok": 0, "failed": 0}
        self._last = "ok"
        #: Called with True when a reload begins, and with False when it has ended.
        self.observe: Callable[[bool], None] = lambda begins: None
        self._requested = False
        self._task: asyncio.Task[None] | None = None

    def snapshot(self) -> dict[str, Any]:
        return {**self._done, "last": self._last}

    async def reload(self, config: Config) -> list[str]:
        """Put `config` in force; returns the keys that changed. Raises ReloadError, with the old
        one untouched."""
        return await self._count(lambda: config)

    async def reload_file(self) -> list[str]:
        """The same with the file as it is now. Raises ConfigError if it cannot be used. Logs the
        result either way."""
        try:
            changed = await self._count(self._read)
        except ZeroproxyError as error:
            log.error(f"not reloaded: {error}")
            raise
        log.info(f"reloaded: {', '.join(changed) or 'nothing'} changed")
        return changed

    def ask(self) -> None:
        """SIGHUP. Those that arrive before the file is read are one."""
        self._requested = True
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._reload_requested())

    async def _reload_requested(self) -> None:
        while self._requested:
            async with self.lock:
                self._requested = False
            with contextlib.suppress(ZeroproxyError):
                await self.reload_file()

    async def stop(self) -> None:
        await cancel(self._task)
        self._task = None

    async def _count(self, read: Callable[[], Config] | None) -> list[str]:
        async with self.lock:
            self.observe(True)
            try:
                if read is None:
                    raise ReloadError("there is no file to read: the program that embeds the "
                                      "proxy reloads it")  # fmt: skip
                changed = await self._reload(await asyncio.to_thread(read))
            except Exception:
                self._note("failed")
                raise
            finally:
                self.observe(False)
            self._note("ok")
            return changed

    def _note(self, result: str) -> None:
        self._last = result
        self._done[result] += 1

    async def _prepare(self, config: Config) -> tuple[Candidate, LogFile | None]:
        """Raises ReloadError."""
        running = self._running
        assert running.endpoint_set is not None
        try:
            new = await prepare(config, running.config, running.endpoint_set.known())
            access = new.config.log.access
            sink = await asyncio.to_thread(open_sink, access) if access else None
        except ZeroproxyError as error:
            raise ReloadError(one_line(str(error))) from None
        return new, sink

    async def _reload(self, config: Config) -> list[str]:
        running = self._running
        new, sink = await self._prepare(check(config))
        try:
            if running.phase != "serving":
                raise ReloadError(f"the proxy is {running.phase}")
            renewed = put_in_force(running, new, refusing())
        except BaseException:
            if sink is not None:
                sink.close()
            raise
        running.watch()
        await running.log_to(sink)
        # The contents of a file may have changed where the configuration has not.
        return new.changed + [
            key for key in renewed if not any(c.startswith(key) for c in new.changed)
        ]
