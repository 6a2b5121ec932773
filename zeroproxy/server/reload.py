"""Another configuration for a proxy that runs: compared, prepared, then applied in one step.

Law 1. Whole or not at all. What can fail (reading, names, certificates, the log) is done first;
       then the engine prepares all of its part, and puts it in force in one turn (`Engine.change`).
Law 2. No exchange is cut: one that has begun keeps the terms it began under (plane.Terms).
Law 3. A key that is not in LIVE cannot change: the reload is refused and the key named. So a new
       key needs a restart until somebody makes it live.
Tests: tests/unit/test_reload.py, tests/e2e/test_reload.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from zeroproxy._fast.engine.engine import Engine
from zeroproxy.config.load import complete
from zeroproxy.config.schema import Config
from zeroproxy.config.secrets import resolve
from zeroproxy.errors import ConfigError, ReloadError, ZeroproxyError, one_line
from zeroproxy.log import log
from zeroproxy.metering.jsonl import LogFile, open_sink
from zeroproxy.policy.shared_quota import need_redis
from zeroproxy.server.api_keys import stage_keys
from zeroproxy.server.endpoints import Addresses, Members, refusing, resolve_all
from zeroproxy.server.fd_limits import limits_in_force
from zeroproxy.server.tls import Prepared, Tls, prepare

#: Keys that may change while exchanges run, and all below them; docs/reload.md is this list.
LIVE = (
    "admin.hosts",
    "admin.token",
    "admin.token_file",
    "auth.forward",
    "auth.key",
    "auth.keys_file",
    "auth.shared",
    "limits",
    "log.access",
    "metering.continuous_usage",
    "metering.inject_usage",
    "server.drain_timeout",
    "server.half_close",
    "server.tls",
    "server.trust_forwarded",
    "server.via",
    "upstream.admission",
    "upstream.api_key",
    "upstream.api_key_file",
    "upstream.balance",
    "upstream.breaker",
    "upstream.cookies",
    "upstream.dns_ttl",
    "upstream.endpoints",
    "upstream.hash",
    "upstream.health",
    "upstream.hedge",
    "upstream.models",
    "upstream.pool",
    "upstream.preset",
    "upstream.retry",
    "upstream.timeouts",
    "upstream.tls",
    "upstream.warmup",
)

# ---------------------------------------------------------------- what differs


def normal(config: Config) -> Config:
    """The same configuration in one spelling, so that only meanings differ."""
    return replace(
        config,
        server=replace(config.server, listen=config.listens()),
        upstream=tuple(replace(u, endpoints=u.all_endpoints()) for u in config.upstream),
    )


def differences(old: Any, new: Any, key: str = "") -> Iterator[str]:
    """Keys whose values are not equal, in the order of the configuration."""
    if isinstance(old, Struct) and type(old) is type(new):
        for name in old.__struct_fields__:
            below = f"{key}.{name}" if key else name
            yield from differences(getattr(old, name), getattr(new, name), below)
    elif key == "upstream" and len(old) == len(new):
        for k, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"upstream[{k}]")
    elif old != new:
        yield key


def is_live(key: str) -> bool:
    plain = re.sub(r"\[\d+\]", "", key)
    return any(plain == live or plain.startswith(live + ".") for live in LIVE)


def check(config: Config) -> Config:
    """`config` complete (config/load.py): whoever embeds the proxy may have made it by hand. Raises
    ReloadError."""
    try:
        return complete(config)
    except ConfigError as error:
        raise ReloadError(one_line(str(error))) from None


def plan(old: Config, new: Config) -> list[str]:
    """The keys that change. Raises ReloadError, which names those that are not live."""
    changed = list(differences(normal(old), normal(new)))
    if fixed := [key for key in changed if not is_live(key)]:
        raise ReloadError(
            f"{', '.join(fixed)}: cannot change while the proxy runs; a restart is needed"
        )
    return changed


# ---------------------------------------------------------------- doing it


class Running(Protocol):
    """What a reload changes of a worker."""

    config: Config
    phase: str
    engine: Engine | None
    members: Members | None
    tls: Tls | None

    def watch(self) -> None:
        """The set of endpoints, or what is asked of them, has changed."""

    def share_keys(self, indices: dict[str, int]) -> None:
        """These keys are in force; `indices`: where the engine has each, by digest."""

    async def log_to(self, sink: LogFile | None) -> None: ...


def put_in_force(
    running: Running, config: Config, tls: Prepared, addresses: Addresses
) -> list[str]:
    """What a reload changes in the engine. Returns the keys whose files have changed. Raises
    ReloadError, with nothing changed."""
    assert running.engine is not None and running.members is not None
    limits = limits_in_force(config.limits)
    with refusing(), running.engine.change() as change:
        # First: an endpoint that is new is connected to at once.
        renewed = running.tls.stage(change, tls) if running.tls is not None else []
        groups = running.members.stage(change, config, addresses)
        change.set_limits(limits)
        change.set_switches(
            via=config.server.via,
            trust_forwarded=config.server.trust_forwarded,
            serve_half_close=config.server.half_close == "serve",
        )
        keys = stage_keys(change, config.auth)
    if running.tls is not None:
        running.tls.adopt(tls)
    running.members.adopt(config, groups)
    running.config = config
    running.share_keys(keys)
    return renewed


class Reloader:
    """`read` gives the configuration anew; None: there is no file, and whoever embeds the proxy
    brings the next one."""

    def __init__(self, running: Running, read: Callable[[], Config] | None) -> None:
        self._running, self._read = running, read
        #: One at a time; held while the worker starts.
        self.lock = asyncio.Lock()
        self._done = {"ok": 0, "failed": 0}
        self._last = "ok"
        self._asked = False
        self._task: asyncio.Task[None] | None = None

    def snapshot(self) -> dict[str, Any]:
        return {**self._done, "last": self._last}

    async def reload(self, config: Config) -> list[str]:
        """Put `config` in force; returns the keys that changed. Raises ReloadError, with the old
        one untouched."""
        return await self._count(lambda: config)

    async def reload_file(self) -> list[str]:
        """The same with what the file says now. Raises ConfigError if it cannot be used. The
        operator is told either way."""
        try:
            changed = await self._count(self._read)
        except ZeroproxyError as error:
            log.error(f"not reloaded: {error}")
            raise
        log.info(f"reloaded: {', '.join(changed) or 'nothing'} changed")
        return changed

    def ask(self) -> None:
        """SIGHUP. Those that arrive before the file is read are one."""
        self._asked = True
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._reload_asked())

    async def _reload_asked(self) -> None:
        while self._asked:
            async with self.lock:
                self._asked = False
            with contextlib.suppress(ZeroproxyError):
                await self.reload_file()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _count(self, read: Callable[[], Config] | None) -> list[str]:
        async with self.lock:
            try:
                if read is None:
                    raise ReloadError("there is no file to read: the program that embeds the "
                                      "proxy reloads it")  # fmt: skip
                changed = await self._reload(await asyncio.to_thread(read))
            except Exception:
                self._note("failed")
                raise
            self._note("ok")
            return changed

    def _note(self, result: str) -> None:
        self._last = result
        self._done[result] += 1

    async def _reload(self, config: Config) -> list[str]:
        running = self._running
        config = check(config)
        try:
            config = await asyncio.to_thread(resolve, config)
            if config.auth is not None and config.auth.shared.url:
                await asyncio.to_thread(need_redis)
        except ZeroproxyError as error:
            raise ReloadError(one_line(str(error))) from None
        changed = plan(running.config, config)
        assert running.engine is not None and running.members is not None
        try:
            tls = await asyncio.to_thread(prepare, config)
            addresses = await resolve_all(config, running.members.known(), log.info)
            access = config.log.access
            sink = await asyncio.to_thread(open_sink, access) if access else None
        except ZeroproxyError as error:
            raise ReloadError(one_line(str(error))) from None
        try:
            if running.phase != "serving":
                raise ReloadError(f"the proxy is {running.phase}")
            renewed = put_in_force(running, config, tls, addresses)
        except BaseException:
            if sink is not None:
                sink.close()
            raise
        running.watch()
        await running.log_to(sink)
        # What is in a file may have changed where the configuration has not.
        return changed + [key for key in renewed if not any(c.startswith(key) for c in changed)]
