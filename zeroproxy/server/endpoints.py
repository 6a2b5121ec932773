"""The endpoints in force, and their places in the engine's table.

Law 1. An endpoint of the configuration is one in force, or with `expand` one per address, called
       URL#ADDRESS. One that stays at its address keeps its slot and its idle connections; only a
       new one is resolved.
Law 2. An endpoint whose name has no address is none of these until dns_watcher.py finds one.
Law 3. Only preparing (`stage`) can fail, and it changes nothing here.
Tests: tests/unit/test_dns.py, tests/unit/test_reload.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from zeroproxy._fast.engine.change import Change
from zeroproxy._fast.engine.engine import Engine
from zeroproxy._fast.engine.settings_types import EndpointSettings, Route, UpstreamSettings
from zeroproxy.config.schema import Config, Endpoint, Upstream
from zeroproxy.errors import ConfigError, ReloadError, UnresolvedError
from zeroproxy.policy.socket_addresses import Address, expand, is_name, resolve_each
from zeroproxy.server.tls import Tls

log = logging.getLogger(__name__)

#: The subject of a look-up: the URL of an endpoint, and whether all of its addresses count.
Locator = tuple[str, bool]
Located = Mapping[Locator, tuple[Address, ...]]
#: By upstream.
Addresses = Sequence[Located]


@dataclass(frozen=True)
class ActiveEndpoint:
    """One endpoint in force; `index` is the engine's."""

    index: int
    address: Address
    locator: Locator


#: By upstream, by URL.
Groups = list[dict[str, ActiveEndpoint]]


def locator_of(endpoint: Endpoint) -> Locator:
    return endpoint.url, endpoint.expand and is_name(endpoint.url)


async def resolve_locator(locator: Locator) -> tuple[Address, ...]:
    """All addresses, under the URLs they would have in force. Raises ConfigError."""
    url, expands = locator
    addresses = await resolve_each(url)
    return expand(addresses) if expands else addresses


async def resolve_all(config: Config, known: Addresses = ()) -> list[Located]:
    """The address of every endpoint of `config`; those of `known` are not resolved again. A name
    that has none and will be looked up again has no address. Raises ConfigError."""
    return await asyncio.gather(
        *(
            resolve_group(upstream, known[k] if k < len(known) else {})
            for k, upstream in enumerate(config.upstream)
        )
    )


async def resolve_or_none(upstream: Upstream, locator: Locator) -> tuple[Address, ...]:
    try:
        return await resolve_locator(locator)
    except UnresolvedError as error:
        if not upstream.dns_ttl or not is_name(locator[0]):
            raise
        log.warning(f"{error}; it is out of rotation and looked up again every "
                    f"{upstream.dns_ttl:g} s")  # fmt: skip
        return ()


async def resolve_group(upstream: Upstream, known: Located) -> Located:
    locators = [locator_of(endpoint) for endpoint in upstream.all_endpoints()]
    new = [locator for locator in locators if locator not in known]
    each = await asyncio.gather(*(resolve_or_none(upstream, locator) for locator in new))
    resolved = {
        locator: addresses if locator[1] else addresses[:1]
        for locator, addresses in zip(new, each, strict=True)
    }
    return {
        locator: resolved[locator] if locator in resolved else known[locator]
        for locator in locators
    }


def priority_field_of(upstream: Upstream) -> str:
    """The engine whose header field for a priority is used; "off": none."""
    if upstream.engine_priority == "off":
        return "off"
    return "sglang" if upstream.preset == "sglang" else "vllm"


def settings_of(upstream: Upstream) -> UpstreamSettings:
    """The engine's settings of an upstream, without its endpoints."""
    return UpstreamSettings(
        balance=upstream.balance,
        hash=upstream.hash,
        admission=upstream.admission,
        timeouts=upstream.timeouts,
        retry=upstream.retry,
        hedge=upstream.hedge,
        breaker=upstream.breaker,
        api_key=upstream.api_key,
        cookies=upstream.cookies,
        host=upstream.host,
        priority_field=priority_field_of(upstream),
        cache_salt=upstream.cache_salt,
    )


class EndpointSet:
    """The endpoints in force. `usage_request_of`: the usage request of an endpoint from its first
    request on; `is_own`: true for an address of the proxy itself."""

    def __init__(
        self,
        engine: Engine,
        tls: Tls | None = None,
        usage_request_of: Callable[[Upstream, str], str] | None = None,
        is_own: Callable[[Address], bool] = lambda _: False,
    ) -> None:
        self._engine, self._tls = engine, tls
        self._usage_request_of, self._is_own = usage_request_of, is_own
        self._groups: Groups = []
        self._hosts: list[str] = []  # by upstream; empty: each endpoint's own
        self._drained: set[str] = set()  # by the URL of the configuration

    def known(self) -> list[Located]:
        groups: list[dict[Locator, tuple[Address, ...]]] = []
        for group in self._groups:
            groups.append({})
            for active in group.values():
                groups[-1][active.locator] = (*groups[-1].get(active.locator, ()), active.address)
        return list(groups)

    def all(self) -> list[ActiveEndpoint]:
        return [active for group in self._groups for active in group.values()]

    def group(self, k: int) -> list[ActiveEndpoint]:
        """Those of one upstream, with the Host that its requests carry."""
        host = self._hosts[k] if k < len(self._hosts) else ""
        group = self._groups[k].values()
        if not host:
            return list(group)
        return [replace(m, address=replace(m.address, authority=host.encode())) for m in group]

    def indices_of(self, url: str) -> list[int]:
        """Where the endpoint is, by the URL of the configuration."""
        return [
            active.index
            for group in self._groups
            for active in group.values()
            if active.locator[0] == url
        ]

    def drain(self, url: str, drain: bool) -> list[int]:
        """Send the endpoint nothing new, or again, at all addresses that it has or will have;
        returns where those are. Empty: there is no such endpoint."""
        indices = self.indices_of(url)
        self._drained.discard(url)
        if drain and indices:
            self._drained.add(url)
        with self._engine.change() as change:
            for index in indices:
                change.set_endpoint(index, draining=drain)
        return indices

    def unresolved(self, config: Config) -> list[str]:
        """Endpoints of `config`, in force, that are nowhere: their names have no address."""
        placed = {active.locator for active in self.all()}
        return [e.url for u in config.upstream for e in u.all_endpoints()
                if locator_of(e) not in placed]  # fmt: skip

    def drained(self) -> set[int]:
        """Where those are that are to get nothing new."""
        return {active.index for active in self.all() if active.locator[0] in self._drained}

    def drained_urls(self) -> list[str]:
        """Of the configuration."""
        return sorted(self._drained)

    def addresses(self) -> list[Address]:
        return [active.address for active in self.all()]

    def add_upstreams(self, config: Config) -> None:
        """Those of `config`, without endpoints, into an engine that has none."""
        for upstream in config.upstream:
            self._engine.add_upstream(upstream.name, settings=settings_of(upstream))
            self._groups.append({})

    def _route(self, change: Change, config: Config) -> None:
        """Route by model between several upstreams; a single one gets everything."""
        routes = [
            Route(
                model=alias.name,
                upstream=k,
                serves="" if alias.serves == alias.name else alias.serves,
            )
            for k, upstream in enumerate(config.upstream)
            for alias in upstream.all_models()
        ]
        several = len(config.upstream) > 1 or any(route.serves for route in routes)
        rest = next((k for k, u in enumerate(config.upstream) if not u.models), None)
        # A single upstream takes what nobody lists too; its list is for the names.
        rest = 0 if len(config.upstream) == 1 else rest
        change.set_routes(routes if several else [], default=rest)

    def change(self, config: Config, addresses: Addresses) -> None:
        """From the set in force to that of `config` at `addresses`, upstream by upstream in the
        same order. Raises ReloadError, with nothing changed."""
        with refusing(), self._engine.change() as change:
            groups = self.stage(change, config, addresses)
        self.adopt(config, groups)

    def stage(self, change: Change, config: Config, addresses: Addresses) -> Groups:
        """Prepare it; call `adopt` when it is in force."""
        groups: Groups = []
        for k, upstream in enumerate(config.upstream):
            old, group = self._groups[k], dict[str, ActiveEndpoint]()
            for endpoint, address in each_of(upstream, addresses[k]):
                active = old.get(address.url)
                if active is None or active.address != address:
                    active = self._add(change, k, upstream, endpoint, address)
                else:
                    change.set_endpoint(active.index, weight=endpoint.weight)
                    change.set_pool(active.index, settings=upstream.pool)
                group[address.url] = active
            for url, active in old.items():
                if group.get(url) is not active:
                    change.remove_endpoint(active.index)
            change.set_upstream(k, settings=settings_of(upstream))
            groups.append(group)
        self._route(change, config)
        return groups

    def adopt(self, config: Config, groups: Groups) -> None:
        """The groups of `stage` are in force."""
        self._groups = groups
        self._hosts = ["" if u.host in ("caller", "endpoint") else u.host for u in config.upstream]
        self._drained &= {e.url for u in config.upstream for e in u.all_endpoints()}

    def _add(
        self, change: Change, k: int, upstream: Upstream, endpoint: Endpoint, address: Address
    ) -> ActiveEndpoint:
        if self._is_own(address):
            raise ConfigError(f"{address.url}: {address.where} is this proxy's own listener")
        settings = EndpointSettings(
            url=address.url, sockaddr=address.sockaddr, authority=address.authority,
            weight=endpoint.weight, pool=upstream.pool, tls_host=address.host.encode(),
        )  # fmt: skip
        index = change.add_endpoint(k, settings=settings)
        if self._usage_request_of is not None:
            change.set_endpoint(index, usage_request=self._usage_request_of(upstream, address.url))
        if endpoint.url in self._drained:
            change.set_endpoint(index, draining=True)
        if self._tls is not None:
            address = replace(address, client_tls=self._tls.client_tls(k))
        return ActiveEndpoint(index, address, locator_of(endpoint))


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Turn a refusal of the engine into a ReloadError."""
    try:
        yield
    except (TypeError, ValueError, OverflowError, MemoryError, ConfigError) as error:
        reason = str(error) or "out of memory"
        raise ReloadError(f"it cannot be put in force: {reason}") from error


def each_of(upstream: Upstream, located: Located) -> list[tuple[Endpoint, Address]]:
    """Every address that counts, with the endpoint it belongs to, in the order of `upstream`."""
    return [
        (e, address) for e in upstream.all_endpoints() for address in located.get(locator_of(e), ())
    ]
