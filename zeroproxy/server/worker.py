"""The composition root: one engine, its listeners, policy, sinks and admin on one asyncio loop.

Only this file knows all parts; each part gets what it needs through its constructor. The CLI
(process.py) and the embedding API are both built on Worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable
from typing import Any

from zeroproxy._fast.engine.engine import Engine
from zeroproxy._fast.engine.thread import BREAKER_CHANGED, QUESTIONS
from zeroproxy._version import __version__
from zeroproxy.admin.hosts import names_of
from zeroproxy.admin.server import AdminServer, BoundSocket
from zeroproxy.config.schema import Config
from zeroproxy.errors import ListenError, ZeroproxyError
from zeroproxy.log import StderrHandler
from zeroproxy.metering.access_log_file import LogFile, open_sink
from zeroproxy.policy.health import Health
from zeroproxy.policy.proxy_readiness import Readiness
from zeroproxy.policy.rotation import Rotation
from zeroproxy.policy.server_detection import Discovery
from zeroproxy.policy.shared_quota import Shares
from zeroproxy.policy.tokens import Tokens
from zeroproxy.policy.warmup_requests import Warmups
from zeroproxy.server.apply_config import Candidate, admit, prepare, put_in_force
from zeroproxy.server.dns_watcher import DnsWatcher
from zeroproxy.server.endpoints import EndpointSet
from zeroproxy.server.fd_limits import admin_cap, raise_limit
from zeroproxy.server.listener import Bound, bind, bind_all, is_own
from zeroproxy.server.metering_pipeline import Metering
from zeroproxy.server.predecessor import HANDED_OVER, Predecessor
from zeroproxy.server.readiness import Lacks
from zeroproxy.server.reload import Reloader
from zeroproxy.server.tls import Tls

log = logging.getLogger(__name__)

DRAIN_POLL = 0.02  # seconds between two looks while exchanges finish
#: Seconds that the first callers wait, in the listeners' backlogs, until the servers are known: the
#: usage to ask for depends on it. A server that is down delays nobody longer.
FIRST_ROUND = 2.0


class Worker:
    """One proxy on the running loop: `await start()`, then `await stop()`.

    `read` returns the configuration anew for a reload. `predecessor`: the process in whose place it
    serves.
    Raises ConfigError, ListenError or OSError from start; nothing is left open then.
    """

    def __init__(
        self,
        config: Config,
        read: Callable[[], Config] | None = None,
        predecessor: Predecessor | None = None,
    ) -> None:
        self.config, self._predecessor = config, predecessor
        self._bind = bind if predecessor is None else predecessor.bind
        self.phase = "starting"
        self.bound: list[Bound] = []
        self.admin: AdminServer | None = None
        self.stderr: StderrHandler | None = None  # of a process that is the proxy
        self.engine: Engine | None = None
        self.endpoint_set: EndpointSet | None = None
        self.tls: Tls | None = None
        self.readiness = Readiness([])
        self.reloader = Reloader(self, read)
        self.dns = DnsWatcher(self, self.reloader.lock)
        self.metering: Metering | None = None
        self.discovery: Discovery | None = None
        self.health: Health | None = None
        self.shares: Shares | None = None
        self.tokens: Tokens | None = None
        self.rotation: Rotation | None = None
        self.warmups: Warmups | None = None
        self.key_indices: dict[str, int] = {}  # of the engine, by digest
        self.drain_requested = asyncio.Event()
        self._settled = asyncio.Event()  # set: a stop settles no longer
        self._is_hurried = False  # cut before the drain began
        self.lacks = Lacks(self)
        self._cut = 0  # conns that stop() has cut
        self.deadline = math.inf  # of a drain
        self._started = time.monotonic()

    # ------------------------------------------------------------ start

    async def start(self) -> None:
        async with self.reloader.lock:
            await self._start()

    async def _start(self) -> None:
        given = self.config
        try:
            new = await prepare(self.config)
            self.config = new.config
            self.bound = bind_all(new.config.listens(), self._bind)
            self._make_parts(new)
            put_in_force(self, new)
            assert self.endpoint_set is not None
            self.readiness = Readiness(self.endpoint_set.addresses())
            await self._start_parts()
        except BaseException:
            self.config = given  # the next start reads its files anew
            await self._release()
            raise
        self.phase = "serving"
        self.readiness.probe_until_ready()

    def _make_parts(self, new: Candidate) -> None:
        """An engine without endpoints, and all that decides about it."""
        self.engine = engine = Engine(limits=new.limits, ring_slots=new.config.metering.ring)
        self.shares = Shares(engine)
        self.tokens = Tokens(engine, lambda callers: admit(self, callers))
        self.tls = Tls()
        self.rotation = Rotation(engine, self._drained)
        self.warmups = Warmups(self.rotation)
        self.discovery = Discovery(engine, self.rotation)
        self.health = Health(engine, self.rotation, self.discovery.kind_at)
        self.endpoint_set = EndpointSet(
            engine, self.tls, self.discovery.usage_request_of, lambda at: is_own(self.bound, at)
        )
        self.endpoint_set.add_upstreams(self.config)
        self.metering = Metering(self.config, engine)

    async def _start_parts(self) -> None:
        """The listeners last: nobody is let in before the rest is there."""
        engine, metering, discovery = self.engine, self.metering, self.discovery
        assert engine is not None and metering is not None and discovery is not None
        if self.config.otel.endpoint:
            engine.set_tracing(self.config.otel.sample)
        await asyncio.to_thread(metering.start)
        if self._predecessor is None:
            await self._start_admin()
        self.watch()
        await discovery.first_round(FIRST_ROUND)
        engine.start()
        asyncio.get_running_loop().add_reader(engine.notify_fileno(), self._on_notify)
        if self._predecessor is not None:
            self.readiness.probe_until_ready()
            await self._predecessor.relieve(self)
            await self._start_admin()
        self.resume_accepting()

    def resume_accepting(self) -> None:
        assert self.engine is not None and self.metering is not None
        self.metering.feed()
        for bound in self.bound:
            bound.accept(self.engine, self.config)

    def watch(self) -> None:
        """The set of endpoints, or the requests they get, has changed."""
        if self.endpoint_set is None:
            return
        groups = [(u, self.endpoint_set.group(k)) for k, u in enumerate(self.config.upstream)]
        self.readiness.watch(self.endpoint_set.addresses())
        self.dns.watch(self.config)
        if self.discovery is not None:
            self.discovery.watch(groups, self.config)
        if self.rotation is not None and self.warmups is not None and self.health is not None:
            self.rotation.watch(groups)
            self.warmups.watch(groups)  # before health, whose reports decide
            self.health.watch(groups)

    def share_keys(self, indices: dict[str, int]) -> None:
        """These keys are in force; `indices`: where the engine has each, by digest."""
        assert self.shares is not None
        self.key_indices = indices
        self.shares.watch(self.config.auth, indices)

    def _drained(self) -> set[int]:
        return self.endpoint_set.drained() if self.endpoint_set is not None else set()

    async def log_to(self, sink: LogFile | None) -> None:
        """The access log goes to `sink` from now on; None: nowhere."""
        assert self.metering is not None
        await asyncio.to_thread(self.metering.log_to, sink)

    async def reopen_log(self) -> None:
        """Open the access log anew under its name, after a rotation; log the result."""
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
            bound = self._bind(address)
        except ListenError as error:
            raise ListenError(str(error).replace(address, f"{address} (admin)", 1)) from None
        self.admin = AdminServer(
            self, bound, token=lambda: self.config.admin.token,
            names=lambda: names_of(self.config.admin), audit=lambda: self.config.admin.audit,
            most=admin_cap(raise_limit()),
        )  # fmt: skip
        await self.admin.start()

    def _on_notify(self) -> None:
        """The engine has notified: a breaker may have moved, or a token is to be verified."""
        flags = self.engine.on_ready() if self.engine is not None else 0
        if flags & BREAKER_CHANGED and self.health is not None:
            self.health.on_breaker_change()
        if flags & QUESTIONS and self.tokens is not None:
            self.tokens.look()

    # ------------------------------------------------------------ for admin

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
        shown: dict[str, Any] = {
            "version": __version__,
            "uptime_s": round(time.monotonic() - self._started, 3),
            "phase": self.phase,
            "listen": self.listen,
            "reloads": self.reloader.snapshot(),
            "log": {"dropped": 0 if self.stderr is None else self.stderr.dropped},
        }
        if self.admin is not None:
            shown["audit"] = self.admin.audit.state()
        shown.update(self.engine.snapshot())
        if self.tls is not None:
            shown["tls"].update(self.tls.snapshot())
        if self.health is not None and self.warmups is not None:
            for upstream in shown["upstreams"]:
                for endpoint in upstream["endpoints"]:
                    endpoint["health"] = self.health.snapshot(endpoint["index"])
                    endpoint["warmup"] = self.warmups.snapshot(endpoint["index"])
        shown["unresolved"] = self.lacks.unresolved()
        if self.metering is not None:
            shown["metering"] = self.metering.state()
        if self.discovery is not None:
            shown["servers"] = self.discovery.server_kinds
            shown["unknown_servers"] = self.discovery.unknown()
        if self.shares is not None and self.tokens is not None:
            shown["auth"]["shared"] = self.shares.state()
            shown["auth"]["jwt"] = self.tokens.state()
        return shown

    def ready(self) -> tuple[bool, list[str]]:
        """(ready for traffic, the reasons why not)."""
        if self.phase != "serving":
            return False, [f"the proxy is {self.phase}"]
        reasons = self.lacks.reasons()
        return not reasons, reasons

    def drain_endpoint(self, url: str, drain: bool) -> dict[str, Any] | None:
        """Send it nothing new, or again; what is still in flight there. None: there is no such
        endpoint."""
        if self.engine is None or self.endpoint_set is None:
            return None
        indices = self.endpoint_set.drain(url, drain)
        if not indices:
            return None
        if self.rotation is not None:
            self.rotation.reconsider()
        log.info(f"{url} is {'draining' if drain else 'no longer draining'}")
        inflight = sum(v["inflight"] for v in self.engine.health_sample() if v["index"] in indices)
        return {"url": url, "draining": drain, "inflight": inflight}

    async def reload_file(self) -> list[str]:
        """Put the file as it is now in force; returns the keys that changed. Raises ConfigError
        or ReloadError, with the old configuration untouched."""
        return await self.reloader.reload_file()

    def drain(self) -> None:
        """Ask for a graceful stop: `drain_requested` is set."""
        self.drain_requested.set()

    def skip_settle(self) -> bool:
        """End a settle that is under way. False: there is none."""
        if self.phase != "settling":
            return False
        self._settled.set()
        return True

    # ------------------------------------------------------------ stop

    async def stop(self, timeout: float | None = None) -> int:
        """Serve on for server.drain_settle, with /readyz 503. Then stop accepting, let exchanges
        finish for `timeout` seconds (default: server.drain_timeout), cut the rest. Returns how
        many conns were cut. With a `timeout` of 0 nothing settles."""
        if self.engine is None:
            return 0
        try:
            if timeout != 0:
                await self._settle()
            await self._drain(timeout)
        finally:
            await self._release()
            self.phase = "stopped"
        return self._cut

    async def _settle(self) -> None:
        """Load balancers see /readyz fail and send their callers elsewhere, while the listeners
        are open: none of them is refused."""
        settle = self.config.server.drain_settle
        if self.engine is None or self.phase != "serving" or not settle:
            return
        self.phase = "settling"
        self.engine.settle()
        log.info(f"settling: /readyz is 503, requests are taken for {settle:g} s")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), settle)

    async def _drain(self, timeout: float | None) -> None:
        assert self.engine is not None
        if self.phase in ("serving", "settling", HANDED_OVER):
            is_relieved, self.phase = self.phase == HANDED_OVER, "draining"
            for bound in self.bound:
                bound.unlink()
            self.engine.stop_listening()
            for bound in self.bound:
                bound.close()
            if timeout is not None or not is_relieved:
                limit = self.config.server.drain_timeout if timeout is None else timeout
                limit = 0.0 if self._is_hurried else limit
                self.deadline = time.monotonic() + limit
            # Nobody waits for the end of a process that another has relieved.
            self.engine.drain(spare_idle=is_relieved)
            left = self.deadline - time.monotonic()
            log.info(
                f"draining: {self.engine.busy()} connections are in use, for "
                + ("as long as they take" if left == math.inf else f"{round(left, 1):g} s at most")
            )
            # The data plane ends exchanges without telling Python: a look every 20 ms will do.
            while self.engine.busy() and time.monotonic() < self.deadline:  # noqa: ASYNC110
                await asyncio.sleep(DRAIN_POLL)
            self._cut += int(self.engine.busy())

    def cut_now(self) -> None:
        """Cut the connections that a running `stop` still waits for."""
        if self.skip_settle():
            self._is_hurried = True
        elif self.engine is not None and self.phase == "draining":
            self._cut += int(self.engine.busy())
            self.engine.close_all()

    async def _release(self) -> None:
        await self.reloader.stop()
        await self.dns.stop()
        await self.readiness.stop()
        if self.warmups is not None:
            await self.warmups.stop()
        if self.discovery is not None:
            await self.discovery.stop()
        if self.health is not None:
            await self.health.stop()
        if self.shares is not None and self.tokens is not None:
            await self.shares.stop()
            await self.tokens.stop()
        if self.engine is not None:
            if self.engine.notify_fileno() >= 0:
                asyncio.get_running_loop().remove_reader(self.engine.notify_fileno())
            self.engine.close()
        if self.metering is not None:
            await asyncio.to_thread(self.metering.stop)
        await self.stop_admin()
        for bound in self.bound:
            bound.close()

    async def stop_admin(self) -> None:
        admin, self.admin = self.admin, None
        if admin is not None:
            await admin.stop()
