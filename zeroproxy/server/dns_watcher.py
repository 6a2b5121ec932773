"""Names looked up again while the proxy runs: an endpoint that moved is followed.

Law 1. An address that is still among the answers is kept, in whatever order they come: a resolver
       that rotates moves nobody. One that is not is left: new connections go to the new address,
       exchanges on the old one finish.
Law 2. A name that cannot be resolved keeps its addresses; one that never could has none. That is
       logged once, and its end once.
Law 3. Without names, or with dns_ttl = 0, no timer runs.
Tests: tests/unit/test_dns.py.
"""

from __future__ import annotations

import asyncio
import logging

from zeroproxy.config.schema import Config, Upstream
from zeroproxy.errors import ConfigError, ReloadError
from zeroproxy.policy.socket_addresses import Address, is_name
from zeroproxy.server.apply_config import Running
from zeroproxy.server.endpoints import Located, Locator, locator_of, resolve_locator
from zeroproxy.tasks import cancel

log = logging.getLogger(__name__)


def kept(old: tuple[Address, ...], new: tuple[Address, ...], expands: bool) -> tuple[Address, ...]:
    """`new`, with what is in both first and in its old order; one of them unless all count."""
    both = tuple(one for one in old if one in new)
    merged = (*both, *(one for one in new if one not in both))
    return merged if expands else merged[:1]


def interval(upstream: Upstream) -> float:
    """Seconds between two look-ups; 0: there is nothing to look up."""
    return upstream.dns_ttl if any(is_name(e.url) for e in upstream.all_endpoints()) else 0.0


class DnsWatcher:
    """`lock` is held while the set of endpoints changes."""

    def __init__(self, running: Running, lock: asyncio.Lock) -> None:
        self._running, self._lock = running, lock
        self._tasks: dict[int, tuple[float, asyncio.Task[None]]] = {}
        self._failing: set[str] = set()

    def watch(self, config: Config) -> None:
        """These names count from now on."""
        for k, upstream in enumerate(config.upstream):
            every = interval(upstream)
            old, task = self._tasks.get(k, (0.0, None))
            if every == old:
                continue
            if task is not None:
                self._tasks.pop(k)[1].cancel()
            if every:
                self._tasks[k] = every, asyncio.ensure_future(self._follow(k, every))

    async def _follow(self, k: int, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            await self.refresh(k)

    async def refresh(self, k: int) -> None:
        """Look up the names of upstream `k` and follow those that moved."""
        running = self._running
        config, endpoint_set = running.config, running.endpoint_set
        assert endpoint_set is not None
        before = endpoint_set.known()
        now = await self._resolve(config.upstream[k], before[k])
        async with self._lock:
            # A reload meanwhile has looked at the names itself.
            if running.config is not config or running.phase != "serving":
                return
            was = {locator: before[k].get(locator, ()) for locator in now}
            if endpoint_set.known() != before or now == was:
                return
            try:
                endpoint_set.change(config, [*before[:k], now, *before[k + 1 :]])
            except ReloadError as error:
                log.error(f"not followed: {error}")
                return
            for locator in now:
                if now[locator] != was[locator]:
                    log.info(f"{locator[0]} is at {listed(now[locator])} now")
            running.watch()

    async def _resolve(self, upstream: Upstream, known: Located) -> Located:
        locators = [locator_of(endpoint) for endpoint in upstream.all_endpoints()]
        each = await asyncio.gather(
            *(self._resolve_one(locator, known.get(locator, ())) for locator in locators)
        )
        return dict(zip(locators, each, strict=True))

    async def _resolve_one(self, locator: Locator, old: tuple[Address, ...]) -> tuple[Address, ...]:
        url, expands = locator
        if not is_name(url):
            return old
        try:
            new = await resolve_locator(locator)
        except ConfigError as error:
            # The start or the reload has logged one that never had an address.
            if old and url not in self._failing:
                log.warning(f"{error}; it is taken to be where it was")
                self._failing.add(url)
            return old
        if url in self._failing:
            self._failing.discard(url)
            log.info(f"{url} can be resolved again")
        return kept(old, new, expands)

    async def stop(self) -> None:
        await cancel(*(task for _, task in self._tasks.values()))
        self._tasks.clear()


def listed(addresses: tuple[Address, ...]) -> str:
    return ", ".join(one.where for one in addresses)
