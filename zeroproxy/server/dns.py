"""Names looked up again while the proxy runs: an endpoint that moved is followed.

Law 1. An address that is still among the answers is kept, in whatever order they come: a resolver
       that rotates moves nobody. One that is not is left: new connections go to the new address,
       exchanges on the old one finish.
Law 2. A name that cannot be resolved keeps its addresses; one that never could has none. That is
       said once, and its end once.
Law 3. Without names, or with dns_ttl = 0, no timer runs.
Tests: tests/unit/test_names.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from zeroproxy.config.schema import Config, Upstream
from zeroproxy.errors import ConfigError, ReloadError
from zeroproxy.policy.addresses import Address, is_name
from zeroproxy.server.endpoints import Place, Places, find, place_of
from zeroproxy.server.reload import Running


def kept(old: tuple[Address, ...], new: tuple[Address, ...], expands: bool) -> tuple[Address, ...]:
    """`new`, with what is in both first and in its old order; one of them unless all count."""
    both = tuple(one for one in old if one in new)
    merged = (*both, *(one for one in new if one not in both))
    return merged if expands else merged[:1]


def interval(upstream: Upstream) -> float:
    """Seconds between two look-ups; 0: there is nothing to look up."""
    return upstream.dns_ttl if any(is_name(e.url) for e in upstream.all_endpoints()) else 0.0


class Names:
    """`lock` is held while the set of endpoints changes; `say` takes one line for the operator."""

    def __init__(self, running: Running, lock: asyncio.Lock, say: Callable[[str], None]) -> None:
        self._running, self._lock, self._say = running, lock, say
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
            await self.look_again(k)

    async def look_again(self, k: int) -> None:
        """Look the names of upstream `k` up and follow those that moved."""
        running = self._running
        config, members = running.config, running.members
        assert members is not None
        before = members.known()
        found = await self._find(config.upstream[k], before[k])
        async with self._lock:
            # A reload meanwhile has looked at the names itself.
            if running.config is not config or running.phase != "serving":
                return
            was = {place: before[k].get(place, ()) for place in found}
            if members.known() != before or found == was:
                return
            try:
                members.change(config, [*before[:k], found, *before[k + 1 :]])
            except ReloadError as error:
                self._say(f"{error}")
                return
            for place in found:
                if found[place] != was[place]:
                    self._say(f"{place[0]} is at {listed(found[place])} now")
            running.watch()

    async def _find(self, upstream: Upstream, known: Places) -> Places:
        places = [place_of(endpoint) for endpoint in upstream.all_endpoints()]
        each = await asyncio.gather(
            *(self._find_one(place, known.get(place, ())) for place in places)
        )
        return dict(zip(places, each, strict=True))

    async def _find_one(self, place: Place, old: tuple[Address, ...]) -> tuple[Address, ...]:
        url, expands = place
        if not is_name(url):
            return old
        try:
            new = await find(place)
        except ConfigError as error:
            # Of one that never was anywhere the start or the reload has told.
            if old and url not in self._failing:
                self._say(f"{error}; it is taken to be where it was")
                self._failing.add(url)
            return old
        if url in self._failing:
            self._failing.discard(url)
            self._say(f"{url} can be resolved again")
        return kept(old, new, expands)

    async def stop(self) -> None:
        for _, task in self._tasks.values():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()


def listed(addresses: tuple[Address, ...]) -> str:
    return ", ".join(one.where for one in addresses)
