"""The composition root: one engine, its listeners, policy, sinks and admin on one asyncio loop.

Only this file knows everybody; everybody else gets what it needs through its constructor. The CLI
(process.py) and the embedding API are both built on Worker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from zeroproxy._fast.engine.engine import Engine
from zeroproxy._version import __version__
from zeroproxy.admin.server import AdminServer, BoundSocket
from zeroproxy.config.schema import Config
from zeroproxy.config.secrets import resolve
from zeroproxy.errors import ListenError, ZeroproxyError
from zeroproxy.log import StderrHandler, log
from zeroproxy.metering.jsonl import LogFile, open_sink
from zeroproxy.policy.discovery import Backends
from zeroproxy.policy.health import Health
from zeroproxy.policy.readiness import Readiness
from zeroproxy.policy.shared_quota import Shares, need_redis
from zeroproxy.policy.warmup import Warmups
from zeroproxy.server.api_keys import stage_keys
from zeroproxy.server.dns import Names
from zeroproxy.server.endpoints import Members, resolve_all
from zeroproxy.server.fd_limits import admin_cap, limits_in_force, raise_limit
from zeroproxy.server.listener import Bound, bind, bind_all, is_own
from zeroproxy.server.pipeline import Metering
from zeroproxy.server.reload import Reloader
from zeroproxy.server.tls import Tls, prepare

DRAIN_POLL = 0.02  # seconds between two looks while exchanges finish
#: For so long the first callers wait, in the listeners' backlogs, until it is known what servers
#: the endpoints are: what a request is asked for depends on it. One that is down holds nobody up.
FIRST_LOOK = 2.0


class Worker:
    """One proxy on the running loop: `await start()`, then `await stop()`.

    `read` gives the configuration anew when somebody asks for a reload.
    Raises ConfigError, ListenError or OSError from start; nothing is left open then.
    """

    def __init__(self, config: Config, read: Callable[[], Config] | None = None) -> None:
        self.config = config
        self.phase = "starting"
        self.bound: list[Bound] = []
        self.admin: AdminServer | None = None
        self.stderr: StderrHandler | None = None  # of a process that is the proxy
        self.engine: Engine | None = None
        self.members: Members | None = None
        self.tls: Tls | None = None
        self.readiness = Readiness([])
        self.reloader = Reloader(self, read)
        self.names = Names(self, self.reloader.lock, log.info)
        self.metering: Metering | None = None
        self.backends: Backends | None = None
        self.health: Health | None = None
        self.shares: Shares | None = None
        self.warmups = Warmups(log.info)
        self.drain_asked = asyncio.Event()
        self._was_warm = False
        self._cut = 0  # conns that a hurried stop has cut
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = time.monotonic()

    # ------------------------------------------------------------ start

    async def start(self) -> None:
        async with self.reloader.lock:
            await self._start()

    async def _start(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            self.config = await asyncio.to_thread(resolve, self.config)
            if self.config.auth is not None and self.config.auth.shared.url:
                await asyncio.to_thread(need_redis)
            tls = await asyncio.to_thread(prepare, self.config)
            addresses = await resolve_all(self.config, say=log.warning)
            self.bound = bind_all(self.config.listens())
            self.engine = self._make_engine()
            self.shares = Shares(self.engine, log.info)
            self.tls = Tls(self.engine, tls)
            self.backends = Backends(self.engine, log.info)
            self.members = Members(
                self.engine, self.tls, self.backends.wish_of, lambda at: is_own(self.bound, at)
            )
            self.members.fill(self.config, addresses)
            with self.engine.change() as change:
                keys = stage_keys(change, self.config.auth)
            self.share_keys(keys)
            self._make_health()
            if self.config.otel.endpoint:
                self.engine.set_tracing(self.config.otel.sample)
            self.metering = Metering(self.config, self.engine)
            await asyncio.to_thread(self.metering.start)
            self.readiness = Readiness(self.members.addresses())
            await self._start_admin()
            self.watch()
            await self.backends.first_look(FIRST_LOOK)
            self.engine.start()
            self._loop.add_reader(self.engine.notify_fileno(), self._hear)
            for bound in self.bound:
                self.engine.listen(bound.sock.fileno(), is_unix=bound.is_unix)
        except BaseException:
            await self._release()
            raise
        self.phase = "serving"
        self.readiness.probe_until_ready()

    def _make_health(self) -> None:
        assert self.engine is not None and self.members is not None
        self.health = Health(self.engine, log.info, self._kind_of)
        self.health.is_cold = self.warmups.is_cold
        self.health.drained = self.members.drained
        self.health.came_back = self._came_back
        self.warmups.changed = self.health.look_at_cold

    def watch(self) -> None:
        """The set of endpoints, or what is asked of them, has changed."""
        if self.members is None:
            return
        groups = [(u, self.members.group(k)) for k, u in enumerate(self.config.upstream)]
        self.readiness.watch(self.members.addresses())
        self.names.watch(self.config)
        if self.backends is not None:
            self.backends.watch(groups, self.config)
        if self.health is not None:
            self.warmups.watch(groups)  # first: health asks which of them are cold
            self.health.watch(groups)

    def share_keys(self, indices: dict[str, int]) -> None:
        """These keys are in force; `indices`: where the engine has each, by digest."""
        assert self.shares is not None
        self.shares.watch(self.config.auth, indices)

    def _kind_of(self, url: str) -> str:
        """What server it is, as far as it has said."""
        return self.backends.kind_at(url) if self.backends is not None else ""

    def _came_back(self, index: int) -> None:
        """An endpoint is well again: it may have been started anew, or be another."""
        self.warmups.came_back(index)
        if self.backends is not None:
            self.backends.came_back(index)

    def _make_engine(self) -> Engine:
        return Engine(
            limits=limits_in_force(self.config.limits),
            via=self.config.server.via,
            trust_forwarded=self.config.server.trust_forwarded,
            serve_half_close=self.config.server.half_close == "serve",
            ring_slots=self.config.metering.ring,
        )

    async def log_to(self, sink: LogFile | None) -> None:
        """The access log goes to `sink` from now on; None: nowhere."""
        assert self.metering is not None
        await asyncio.to_thread(self.metering.log_to, sink)

    async def reopen_log(self) -> None:
        """Open the access log anew under its name, after a rotation. The operator is told."""
        async with self.reloader.lock:
            access = self.config.log.access
            if self.phase != "serving" or not access:
                return
            try:
                out = await asyncio.to_thread(open_sink, access)
            except ZeroproxyError as error:
                log.error(f"not reopened: {error}")
                return
            await self.log_to(out)
            log.info("the access log is reopened")

    async def _start_admin(self) -> None:
        address = self.config.admin.listen
        if not address:
            return
        try:
            bound = bind(address)
        except ListenError as error:
            raise ListenError(str(error).replace(address, f"{address} (admin)", 1)) from None
        self.admin = AdminServer(
            self, bound, token=lambda: self.config.admin.token,
            names=lambda: self.config.admin.names(), most=admin_cap(raise_limit()),
        )  # fmt: skip
        await self.admin.start()

    def _hear(self) -> None:
        """The engine has news."""
        if self.engine is not None and self.engine.on_ready() and self.health is not None:
            self.health.look()

    # ------------------------------------------------------------ what admin asks

    @property
    def listen(self) -> list[str]:
        """URLs of the data listeners, with the ports the kernel chose."""
        scheme = "https:" if self.config.server.tls.cert else "http:"
        return [bound.url.replace("http:", scheme, 1) for bound in self.bound]

    def ledger_path(self) -> str:
        """The ledger's file; empty: there is none."""
        return self.config.metering.ledger

    def listeners(self) -> list[BoundSocket]:
        """Every socket that is listened on."""
        return [*self.bound, *([self.admin.bound] if self.admin is not None else [])]

    @property
    def admin_url(self) -> str:
        return self.admin.url if self.admin is not None else ""

    def snapshot(self) -> dict[str, Any]:
        assert self.engine is not None, "the worker has not been started"
        found: dict[str, Any] = {
            "version": __version__,
            "uptime_s": round(time.monotonic() - self._started, 3),
            "phase": self.phase,
            "listen": self.listen,
            "reloads": self.reloader.snapshot(),
            "log": {"dropped": 0 if self.stderr is None else self.stderr.dropped},
        }
        found.update(self.engine.snapshot())
        if self.tls is not None:
            found["tls"].update(self.tls.snapshot())
        if self.health is not None:
            for upstream in found["upstreams"]:
                for endpoint in upstream["endpoints"]:
                    endpoint["health"] = self.health.snapshot(endpoint["index"])
                    endpoint["warmup"] = self.warmups.snapshot(endpoint["index"])
        found["unresolved"] = self._nowhere()
        if self.metering is not None:
            found["metering"] = self.metering.state()
        if self.backends is not None:
            found["servers"] = self.backends.kinds
            found["unknown_servers"] = self.backends.unknown()
        if self.shares is not None:
            found["auth"]["shared"] = self.shares.state()
        return found

    def ready(self) -> tuple[bool, list[str]]:
        """Whether traffic should be sent here, and if not, why."""
        if self.phase != "serving":
            return False, [f"the proxy is {self.phase}"]
        if self.health is not None and (reasons := self.health.reasons()):
            return False, reasons
        is_ready, reasons = self.readiness.state()
        if not is_ready:
            reasons = reasons + [f"{url}: its name cannot be resolved" for url in self._nowhere()]
        if is_ready and not self._was_warm:
            cold = self._cold() + self.warmups.reasons()
            self._was_warm = not cold
            return not cold, cold
        return is_ready, reasons

    def _nowhere(self) -> list[str]:
        return self.members.unresolved(self.config) if self.members is not None else []

    def _cold(self) -> list[str]:
        """Endpoints whose first connections are still being opened."""
        assert self.engine is not None
        return [
            f"{endpoint['url']}: its first connections are being opened"
            for upstream in self.engine.snapshot()["upstreams"]
            for endpoint in upstream["endpoints"]
            if not endpoint["pool"]["is_warm"]
        ]

    def drain_endpoint(self, url: str, drain: bool) -> dict[str, Any] | None:
        """Send it nothing new, or again; what is still in flight there. None: there is no such
        endpoint."""
        if self.engine is None or self.members is None:
            return None
        indices = self.members.drain(url, drain)
        if not indices:
            return None
        if self.health is not None:
            self.health.look_at_cold()
        log.info(f"{url} is {'draining' if drain else 'no longer draining'}")
        inflight = sum(v["inflight"] for v in self.engine.health_sample() if v["index"] in indices)
        return {"url": url, "draining": drain, "inflight": inflight}

    async def reload_file(self) -> list[str]:
        """Put in force what the file says now; returns the keys that changed. Raises ConfigError
        or ReloadError, with the old configuration untouched."""
        return await self.reloader.reload_file()

    def drain(self) -> None:
        """Ask for a graceful stop; whoever runs the worker waits for `drain_asked`."""
        self.drain_asked.set()

    # ------------------------------------------------------------ stop

    async def stop(self, timeout: float | None = None) -> int:
        """Stop accepting, let exchanges finish for `timeout` seconds (default:
        server.drain_timeout), cut the rest. Returns how many conns were cut."""
        if self.engine is None:
            return 0
        try:
            await self._drain(timeout)
        finally:
            await self._release()
            self.phase = "stopped"
        return self._cut

    async def _drain(self, timeout: float | None) -> None:
        assert self.engine is not None
        if self.phase == "serving":
            self.phase = "draining"
            for bound in self.bound:
                bound.unlink()
            self.engine.stop_listening()
            for bound in self.bound:
                bound.close()
            limit = self.config.server.drain_timeout if timeout is None else timeout
            deadline = time.monotonic() + limit
            self.engine.drain()
            log.info(f"draining: {self.engine.busy()} connections are in use, for {limit:g} s at "
                     f"most")  # fmt: skip
            # The data plane ends exchanges without telling Python: a look every 20 ms will do.
            while self.engine.busy() and time.monotonic() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(DRAIN_POLL)
            self._cut += int(self.engine.busy())

    def hurry(self) -> None:
        """Cut what a `stop` that runs still waits for."""
        if self.engine is not None and self.phase == "draining":
            self._cut += int(self.engine.busy())
            self.engine.close_all()

    async def _release(self) -> None:
        await self.reloader.stop()
        await self.names.stop()
        await self.readiness.stop()
        await self.warmups.stop()
        if self.backends is not None:
            await self.backends.stop()
        if self.health is not None:
            await self.health.stop()
        if self.shares is not None:
            await self.shares.stop()
        if self.engine is not None:
            if self._loop is not None and self.engine.notify_fileno() >= 0:
                self._loop.remove_reader(self.engine.notify_fileno())
            self.engine.close()
        if self.metering is not None:
            await asyncio.to_thread(self.metering.stop)
        if self.admin is not None:
            await self.admin.stop()
            self.admin = None
        for bound in self.bound:
            bound.close()
