"""The endpoints in force: which of them is where in the engine's table.

Law 1. An endpoint of the configuration is one member, or with `expand` one per address, called
       URL#ADDRESS. One that stays at its address keeps its slot and its idle connections; only a
       new one is resolved.
Law 2. `change` adds before it removes, and what can fail is the adding: it is undone then.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zeroproxy._fast.engine import Engine
from zeroproxy.config import Alias, Breaker, Config, Endpoint, Hash, Pool, Upstream
from zeroproxy.errors import ReloadError
from zeroproxy.policy.addresses import Address, apart, is_name, resolve_each
from zeroproxy.server.tls import Tls

if TYPE_CHECKING:
    from zeroproxy._fast.engine import BreakerWords, KeyWords, PoolWords, UpstreamWords

BALANCE = {
    "round_robin": 0, "least_inflight": 1, "power_of_two": 2, "consistent_hash": 3, "fastest": 4,
}  # fmt: skip
#: balance_types.KeySource
KEY_SOURCE = {"header": 0, "user": 1, "prompt": 2}

#: What is looked up: the URL of an endpoint, and whether all of its addresses count.
Place = tuple[str, bool]
Places = Mapping[Place, tuple[Address, ...]]
#: By upstream.
Addresses = Sequence[Places]


@dataclass(frozen=True)
class Member:
    """One endpoint in force; `index` is the engine's."""

    index: int
    address: Address
    place: Place


def place_of(endpoint: Endpoint) -> Place:
    return endpoint.url, endpoint.expand and is_name(endpoint.url)


async def find(place: Place) -> tuple[Address, ...]:
    """All addresses, named as they would be as members. Raises ConfigError."""
    url, expands = place
    found = await resolve_each(url)
    return apart(found) if expands else found


async def resolve_all(config: Config, known: Addresses = ()) -> list[Places]:
    """The address of every endpoint of `config`; those of `known` are not asked for again.
    Raises ConfigError."""
    return [
        await resolve_group(upstream, known[k] if k < len(known) else {})
        for k, upstream in enumerate(config.upstream)
    ]


async def resolve_group(upstream: Upstream, known: Places) -> Places:
    places = [place_of(endpoint) for endpoint in upstream.all_endpoints()]
    new = [place for place in places if place not in known]
    each = await asyncio.gather(*map(find, new))
    found = {
        place: all_of if place[1] else all_of[:1] for place, all_of in zip(new, each, strict=True)
    }
    return {place: found[place] if place in found else known[place] for place in places}


def words(upstream: Upstream) -> UpstreamWords:
    """What the engine is told of an upstream, beside its endpoints."""
    return {
        "balance": BALANCE[upstream.balance],
        "max_inflight": upstream.admission.max_inflight,
        "min_inflight": upstream.admission.min_inflight,
        "ttft_target": upstream.admission.ttft_target,
        "tenant_share": upstream.admission.tenant_share,
        "queue": upstream.admission.queue,
        "queue_timeout": upstream.admission.queue_timeout,
        "connect": upstream.timeouts.connect,
        "first_byte": upstream.timeouts.first_byte,
        "stream_idle": upstream.timeouts.stream_idle,
        "total": upstream.timeouts.total,
        "attempts": upstream.retry.attempts,
        "retry_on_busy": upstream.retry.on_busy,
        "hedge_after": upstream.hedge.after,
        "hedge_budget": upstream.hedge.budget,
        "breaker": breaker_words(upstream.breaker),
        "api_key": upstream.api_key.encode(),
        "cookies": upstream.cookies,
        "key": key_words(upstream.hash),
    }


def key_words(settings: Hash) -> KeyWords:
    parts = [source.lower().partition(":") for source in settings.on]
    return {
        "on": [(KEY_SOURCE[kind], name.encode()) for kind, _, name in parts],
        "prefix_bytes": settings.prefix_bytes,
        "load_bound": settings.load_bound,
    }


def breaker_words(breaker: Breaker) -> BreakerWords:
    return {
        "failures": breaker.failures,
        "error_rate": breaker.error_rate,
        "min_requests": breaker.min_requests,
        "half_open_probes": breaker.half_open_probes,
        "count_busy": breaker.count_busy,
        "window": breaker.window,
        "open_for": breaker.open_for,
        "slow_start": breaker.slow_start,
    }


def pool_words(pool: Pool) -> PoolWords:
    """What the engine is told of the connections to one endpoint."""
    return {
        "max_idle": pool.max_idle,
        "idle_timeout": pool.idle_timeout,
        "max_age": pool.max_age,
        "max_requests": pool.max_requests,
        "max_connections": pool.max_connections,
        "learns": pool.keep_alive == "learn",
        "prewarm": pool.prewarm,
        "prewarm_idle": pool.prewarm_idle,
    }


def own_name(alias: Alias) -> bytes:
    """What the server calls it, as JSON; empty: the same."""
    if alias.serves == alias.name:
        return b""
    return json.dumps(alias.serves, ensure_ascii=False).encode()


class Members:
    def __init__(self, engine: Engine, tls: Tls | None = None) -> None:
        self._engine, self._tls = engine, tls
        self._groups: list[dict[str, Member]] = []
        self._drained: set[str] = set()  # by the URL of the configuration

    def known(self) -> list[Places]:
        found: list[dict[Place, tuple[Address, ...]]] = []
        for group in self._groups:
            found.append({})
            for member in group.values():
                found[-1][member.place] = (*found[-1].get(member.place, ()), member.address)
        return list(found)

    def all(self) -> list[Member]:
        return [member for group in self._groups for member in group.values()]

    def group(self, k: int) -> list[Member]:
        """Those of one upstream."""
        return list(self._groups[k].values())

    def indices_of(self, url: str) -> list[int]:
        """Where the endpoint is, by the URL of the configuration."""
        return [m.index for group in self._groups for m in group.values() if m.place[0] == url]

    def drain(self, url: str, drain: bool) -> list[int]:
        """Send the endpoint nothing new, or again, at all addresses that it has or will have;
        returns where those are. Empty: there is no such endpoint."""
        indices = self.indices_of(url)
        self._drained.discard(url)
        if drain and indices:
            self._drained.add(url)
        with self._engine.alone:
            for index in indices:
                self._engine.set_endpoint(index, draining=drain)
        return indices

    def addresses(self) -> list[Address]:
        return [member.address for member in self.all()]

    def fill(self, config: Config, addresses: Addresses) -> None:
        """The first set, into an engine that has none."""
        for upstream, found in zip(config.upstream, addresses, strict=True):
            k = self._engine.add_upstream(upstream.name, [], **words(upstream))
            if self._tls is not None:
                self._tls.join(k)
            self._groups.append({
                address.url: self._add(k, upstream, endpoint, address)
                for endpoint, address in each_of(upstream, found)
            })  # fmt: skip
        self._route(config)

    def _route(self, config: Config) -> None:
        """Several upstreams are told apart by model; to a single one everything goes."""
        routes = [
            (alias.name, k, own_name(alias))
            for k, upstream in enumerate(config.upstream)
            for alias in upstream.all_models()
        ]
        several = len(config.upstream) > 1 or any(real for _, _, real in routes)
        rest = next((k for k, u in enumerate(config.upstream) if not u.models), None)
        # A single upstream takes what nobody lists too; its list is for the names.
        rest = 0 if len(config.upstream) == 1 else rest
        self._engine.set_routes(routes if several else [], rest)

    def change(self, config: Config, addresses: Addresses) -> None:
        """From the set in force to that of `config` at `addresses`, upstream by upstream in the
        same order. Raises ReloadError, with nothing changed."""
        with self._engine.alone:
            self._change(config, addresses)

    def _change(self, config: Config, addresses: Addresses) -> None:
        added = self._add_new(config, addresses)
        for k, upstream in enumerate(config.upstream):
            group = self._groups[k] | added[k]
            wanted = {address.url: e for e, address in each_of(upstream, addresses[k])}
            for url, member in self._groups[k].items():
                if group.get(url) is not member or url not in wanted:
                    self._engine.remove_endpoint(member.index)
            self._groups[k] = {url: group[url] for url in wanted}
            for url, endpoint in wanted.items():
                self._engine.set_endpoint(group[url].index, weight=endpoint.weight)
                self._engine.set_pool(group[url].index, **pool_words(upstream.pool))
            self._engine.set_upstream(k, **words(upstream))
        self._drained &= {e.url for u in config.upstream for e in u.all_endpoints()}
        self._route(config)

    def _add_new(self, config: Config, addresses: Addresses) -> list[dict[str, Member]]:
        added: list[dict[str, Member]] = []
        try:
            for k, upstream in enumerate(config.upstream):
                added.append({})
                for endpoint, address in each_of(upstream, addresses[k]):
                    old = self._groups[k].get(address.url)
                    if old is None or old.address != address:
                        added[k][address.url] = self._add(k, upstream, endpoint, address)
        except (ValueError, MemoryError) as error:
            for group in added:
                for member in group.values():
                    self._engine.remove_endpoint(member.index)
            raise ReloadError(f"an endpoint cannot be added: {error}") from error
        return added

    def _add(self, k: int, upstream: Upstream, endpoint: Endpoint, address: Address) -> Member:
        spec = (address.url, address.sockaddr, address.authority, endpoint.weight,
                pool_words(upstream.pool), address.host.encode())  # fmt: skip
        index = self._engine.add_endpoint(k, spec)
        if endpoint.url in self._drained:
            self._engine.set_endpoint(index, draining=True)
        if self._tls is not None:
            address = replace(address, secure=self._tls.secure(k))
        return Member(index, address, place_of(endpoint))


def each_of(upstream: Upstream, found: Places) -> list[tuple[Endpoint, Address]]:
    """Every address that counts, with the endpoint it belongs to, in the order of `upstream`."""
    return [(e, address) for e in upstream.all_endpoints() for address in found[place_of(e)]]
