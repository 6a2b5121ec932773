"""The endpoints in force: which of them is where in the engine's table.

Law 1. An endpoint of the configuration is one member, or with `expand` one per address, called
       URL#ADDRESS. One that stays at its address keeps its slot and its idle connections; only a
       new one is resolved.
Law 2. An endpoint whose name has no address is no member until names.py finds one.
Law 3. What can fail is preparing (`stage`), which changes nothing here.
Tests: tests/unit/test_names.py, tests/unit/test_reload.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from zeroproxy._fast.engine.change import Change
from zeroproxy._fast.engine.engine import Engine
from zeroproxy._fast.engine.settings_types import EndpointSettings, Route, UpstreamSettings
from zeroproxy.config.schema import Config, Endpoint, Upstream
from zeroproxy.errors import ConfigError, ReloadError, UnresolvedError
from zeroproxy.policy.addresses import Address, apart, is_name, resolve_each
from zeroproxy.server.tls import Tls

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


#: By upstream, by URL.
Groups = list[dict[str, Member]]


def place_of(endpoint: Endpoint) -> Place:
    return endpoint.url, endpoint.expand and is_name(endpoint.url)


async def find(place: Place) -> tuple[Address, ...]:
    """All addresses, named as they would be as members. Raises ConfigError."""
    url, expands = place
    found = await resolve_each(url)
    return apart(found) if expands else found


async def resolve_all(
    config: Config, known: Addresses = (), say: Callable[[str], None] = lambda _: None
) -> list[Places]:
    """The address of every endpoint of `config`; those of `known` are not asked for again. A name
    that has none and will be looked up again has no address, and `say` is told. Raises
    ConfigError."""
    return await asyncio.gather(
        *(
            resolve_group(upstream, known[k] if k < len(known) else {}, say)
            for k, upstream in enumerate(config.upstream)
        )
    )


async def find_now(
    upstream: Upstream, place: Place, say: Callable[[str], None]
) -> tuple[Address, ...]:
    try:
        return await find(place)
    except UnresolvedError as error:
        if not upstream.dns_ttl or not is_name(place[0]):
            raise
        say(f"{error}; it is out of rotation and looked up again every "
            f"{upstream.dns_ttl:g} s")  # fmt: skip
        return ()


async def resolve_group(upstream: Upstream, known: Places, say: Callable[[str], None]) -> Places:
    places = [place_of(endpoint) for endpoint in upstream.all_endpoints()]
    new = [place for place in places if place not in known]
    each = await asyncio.gather(*(find_now(upstream, place, say) for place in new))
    found = {
        place: all_of if place[1] else all_of[:1] for place, all_of in zip(new, each, strict=True)
    }
    return {place: found[place] if place in found else known[place] for place in places}


def settings_of(upstream: Upstream) -> UpstreamSettings:
    """What the engine keeps of an upstream, beside its endpoints."""
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
    )


class Members:
    """`wish_of`: what an endpoint may be asked for from its first request on; `is_own`: whether an
    address is the proxy's own."""

    def __init__(
        self,
        engine: Engine,
        tls: Tls | None = None,
        wish_of: Callable[[Upstream, str], str] | None = None,
        is_own: Callable[[Address], bool] = lambda _: False,
    ) -> None:
        self._engine, self._tls, self._wish_of, self._is_own = engine, tls, wish_of, is_own
        self._groups: Groups = []
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
        with self._engine.change() as change:
            for index in indices:
                change.set_endpoint(index, draining=drain)
        return indices

    def unresolved(self, config: Config) -> list[str]:
        """Endpoints of `config`, in force, that are nowhere: their names have no address."""
        placed = {member.place for member in self.all()}
        return [e.url for u in config.upstream for e in u.all_endpoints()
                if place_of(e) not in placed]  # fmt: skip

    def drained(self) -> set[int]:
        """Where those are that are to get nothing new."""
        return {m.index for m in self.all() if m.place[0] in self._drained}

    def addresses(self) -> list[Address]:
        return [member.address for member in self.all()]

    def fill(self, config: Config, addresses: Addresses) -> None:
        """The first set, into an engine that has none."""
        for upstream, found in zip(config.upstream, addresses, strict=True):
            k = self._engine.add_upstream(upstream.name, settings=settings_of(upstream))
            with self._engine.change() as change:
                if self._tls is not None:
                    self._tls.join(k, change)
                self._groups.append({
                    address.url: self._add(change, k, upstream, endpoint, address)
                    for endpoint, address in each_of(upstream, found)
                })  # fmt: skip
        with self._engine.change() as change:
            self._route(change, config)

    def _route(self, change: Change, config: Config) -> None:
        """Several upstreams are told apart by model; to a single one everything goes."""
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
        """Prepare it; `adopt` is told when it is in force."""
        groups: Groups = []
        for k, upstream in enumerate(config.upstream):
            old, group = self._groups[k], dict[str, Member]()
            for endpoint, address in each_of(upstream, addresses[k]):
                member = old.get(address.url)
                if member is None or member.address != address:
                    member = self._add(change, k, upstream, endpoint, address)
                else:
                    change.set_endpoint(member.index, weight=endpoint.weight)
                    change.set_pool(member.index, settings=upstream.pool)
                group[address.url] = member
            for url, member in old.items():
                if group.get(url) is not member:
                    change.remove_endpoint(member.index)
            change.set_upstream(k, settings=settings_of(upstream))
            groups.append(group)
        self._route(change, config)
        return groups

    def adopt(self, config: Config, groups: Groups) -> None:
        """What `stage` has prepared is in force."""
        self._groups = groups
        self._drained &= {e.url for u in config.upstream for e in u.all_endpoints()}

    def _add(
        self, change: Change, k: int, upstream: Upstream, endpoint: Endpoint, address: Address
    ) -> Member:
        if self._is_own(address):
            raise ConfigError(f"{address.url}: {address.where} is this proxy's own listener")
        settings = EndpointSettings(
            url=address.url, sockaddr=address.sockaddr, authority=address.authority,
            weight=endpoint.weight, pool=upstream.pool, tls_host=address.host.encode(),
        )  # fmt: skip
        index = change.add_endpoint(k, settings=settings)
        if self._wish_of is not None:
            change.set_endpoint(index, usage_request=self._wish_of(upstream, address.url))
        if endpoint.url in self._drained:
            change.set_endpoint(index, draining=True)
        if self._tls is not None:
            address = replace(address, secure=self._tls.secure(k))
        return Member(index, address, place_of(endpoint))


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """What the engine cannot take is a reload that is refused."""
    try:
        yield
    except (TypeError, ValueError, OverflowError, MemoryError, ConfigError) as error:
        reason = str(error) or "out of memory"
        raise ReloadError(f"it cannot be put in force: {reason}") from error


def each_of(upstream: Upstream, found: Places) -> list[tuple[Endpoint, Address]]:
    """Every address that counts, with the endpoint it belongs to, in the order of `upstream`."""
    return [
        (e, address) for e in upstream.all_endpoints() for address in found.get(place_of(e), ())
    ]
