"""The endpoints in force: which of them is where in the engine's table.

Law 1. An endpoint is known by its URL. One that stays keeps its slot, its address and its idle
       connections; only a new one is resolved.
Law 2. `change` adds before it removes, and what can fail is the adding: it is undone then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zeroproxy._fast.engine import Engine
from zeroproxy.config import Config, Endpoint, Pool, Upstream
from zeroproxy.errors import ReloadError
from zeroproxy.policy.addresses import Address, resolve

if TYPE_CHECKING:
    from zeroproxy._fast.engine import PoolWords, UpstreamWords

BALANCE = {"round_robin": 0, "least_inflight": 1}

#: By upstream, then by URL.
Addresses = Sequence[Mapping[str, Address]]


@dataclass(frozen=True)
class Member:
    """One endpoint in force; `index` is the engine's."""

    index: int
    address: Address


async def resolve_all(config: Config, known: Addresses = ()) -> list[dict[str, Address]]:
    """The address of every endpoint of `config`; those of `known` are not asked for again.
    Raises ConfigError."""
    return [
        await resolve_group(upstream, known[k] if k < len(known) else {})
        for k, upstream in enumerate(config.upstream)
    ]


async def resolve_group(upstream: Upstream, known: Mapping[str, Address]) -> dict[str, Address]:
    urls = [endpoint.url for endpoint in upstream.all_endpoints()]
    new = [url for url in urls if url not in known]
    found = dict(zip(new, await asyncio.gather(*map(resolve, new)), strict=True))
    return {url: found[url] if url in found else known[url] for url in urls}


def words(upstream: Upstream) -> UpstreamWords:
    """What the engine is told of an upstream, beside its endpoints."""
    return {
        "balance": BALANCE[upstream.balance],
        "max_inflight": upstream.admission.max_inflight,
        "queue": upstream.admission.queue,
        "queue_timeout": upstream.admission.queue_timeout,
        "connect": upstream.timeouts.connect,
        "first_byte": upstream.timeouts.first_byte,
        "stream_idle": upstream.timeouts.stream_idle,
        "total": upstream.timeouts.total,
        "attempts": upstream.retry.attempts,
        "retry_on_busy": upstream.retry.on_busy,
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


class Members:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._groups: list[dict[str, Member]] = []

    def known(self) -> list[dict[str, Address]]:
        return [{url: m.address for url, m in group.items()} for group in self._groups]

    def all(self) -> list[Member]:
        return [member for group in self._groups for member in group.values()]

    def addresses(self) -> list[Address]:
        return [member.address for member in self.all()]

    def fill(self, config: Config, addresses: Addresses) -> None:
        """The first set, into an engine that has none."""
        for upstream, found in zip(config.upstream, addresses, strict=True):
            k = self._engine.add_upstream(upstream.name, [], **words(upstream))
            group = {e.url: self._add(k, upstream, e, found) for e in upstream.all_endpoints()}
            self._groups.append(group)

    def change(self, config: Config, addresses: Addresses) -> None:
        """From the set in force to that of `config`, upstream by upstream in the same order.
        Raises ReloadError, with nothing changed."""
        added = self._add_new(config, addresses)
        for k, upstream in enumerate(config.upstream):
            group = self._groups[k] | added[k]
            wanted = {endpoint.url: endpoint for endpoint in upstream.all_endpoints()}
            for url, member in group.items():
                if url not in wanted:
                    self._engine.remove_endpoint(member.index)
            self._groups[k] = {url: group[url] for url in wanted}
            for url, endpoint in wanted.items():
                self._engine.set_endpoint(group[url].index, weight=endpoint.weight)
                self._engine.set_pool(group[url].index, **pool_words(upstream.pool))
            self._engine.set_upstream(k, **words(upstream))

    def _add_new(self, config: Config, addresses: Addresses) -> list[dict[str, Member]]:
        added: list[dict[str, Member]] = []
        try:
            for k, upstream in enumerate(config.upstream):
                added.append({})
                for endpoint in upstream.all_endpoints():
                    if endpoint.url not in self._groups[k]:
                        member = self._add(k, upstream, endpoint, addresses[k])
                        added[k][endpoint.url] = member
        except (ValueError, MemoryError) as error:
            for group in added:
                for member in group.values():
                    self._engine.remove_endpoint(member.index)
            raise ReloadError(f"an endpoint cannot be added: {error}") from error
        return added

    def _add(
        self, k: int, upstream: Upstream, endpoint: Endpoint, found: Mapping[str, Address]
    ) -> Member:
        address = found[endpoint.url]
        spec = (address.url, address.sockaddr, address.authority, endpoint.weight,
                pool_words(upstream.pool))  # fmt: skip
        return Member(self._engine.add_endpoint(k, spec), address)
