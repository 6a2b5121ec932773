"""A configuration on its way into force: prepared, then applied in one step.

A start is a reload from nothing: the same steps, on an engine that has upstreams and no endpoint
yet. The steps are, in order: files it names, packages it needs, difference to the one in force,
certificates, names, descriptors. Then the engine prepares all of its part and applies it.

Law 1. Whole or not at all. Steps that can fail change nothing; the step that applies cannot fail
       (`Engine.change`).
Law 2. No exchange is cut: each keeps the limits that were in force when its head began.
Tests: tests/unit/test_prepare.py, tests/unit/test_reload.py, tests/e2e/test_reload.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from zeroproxy._fast.engine.engine import Engine
from zeroproxy.config.schema import Config, Key, Limits
from zeroproxy.config.secret_files import resolve
from zeroproxy.metering.access_log_file import LogFile, open_sink
from zeroproxy.policy.key_sets import check_issuers
from zeroproxy.policy.shared_quota import need_redis
from zeroproxy.policy.tokens import Tokens
from zeroproxy.server.config_diff import plan
from zeroproxy.server.endpoints import Addresses, EndpointSet, resolve_all
from zeroproxy.server.fd_limits import limits_in_force
from zeroproxy.server.listener import Bound
from zeroproxy.server.stage_keys import stage_keys
from zeroproxy.server.stage_surfaces import stage_surfaces
from zeroproxy.server.tls import PreparedTls, Tls, prepare_tls


@dataclass(frozen=True)
class Candidate:
    """A configuration that can be applied; `config` has the contents of its files."""

    config: Config
    tls: PreparedTls
    addresses: Addresses
    limits: Limits  # as the descriptors allow
    changed: list[str]  # keys, against the configuration in force


class Running(Protocol):
    """The parts of a worker that a configuration changes."""

    config: Config
    phase: str
    bound: list[Bound]
    engine: Engine | None
    endpoint_set: EndpointSet | None
    tls: Tls | None

    tokens: Tokens | None

    def watch(self) -> None:
        """The set of endpoints, or the requests they get, has changed."""

    def share_keys(self, indices: dict[str, int]) -> None:
        """These keys are in force; `indices`: where the engine has each, by digest."""

    async def log_to(self, sink: LogFile | None) -> None: ...


def try_audit(spec: str) -> None:
    """Raises ZeroproxyError if the audit file cannot be written."""
    open_sink(spec, "admin.audit").close()


async def prepare(
    config: Config, in_force: Config | None = None, known: Addresses = ()
) -> Candidate:
    """Do all that can fail outside of the engine. `in_force`: None at the start; `known`: addresses
    of endpoints that stay, by upstream. Raises ZeroproxyError."""
    config = await asyncio.to_thread(resolve, config)
    if config.auth is not None and config.auth.shared.url:
        await asyncio.to_thread(need_redis)
    if config.auth is not None and config.auth.jwt:
        await asyncio.to_thread(check_issuers, config.auth.jwt)
    changed = plan(in_force, config) if in_force is not None else []
    tls = await asyncio.to_thread(prepare_tls, config)
    if config.admin.listen and config.admin.audit:
        await asyncio.to_thread(try_audit, config.admin.audit)
    addresses = await resolve_all(config, known)
    limits = await asyncio.to_thread(limits_in_force, config.limits)
    return Candidate(config, tls, addresses, limits, changed)


def put_in_force(
    running: Running,
    new: Candidate,
    guard: contextlib.AbstractContextManager[None] | None = None,
) -> list[str]:
    """Apply it to the engine. Returns the keys whose files have changed. Raises what the engine or
    an endpoint refuses, with nothing changed. `guard` is around that part alone: an error after it
    is no refusal, for the configuration is in force then."""
    engine, endpoint_set, tls = running.engine, running.endpoint_set, running.tls
    tokens = running.tokens
    assert engine is not None and endpoint_set is not None
    assert tls is not None and tokens is not None
    config = new.config
    with guard or contextlib.nullcontext(), engine.change() as change:
        # First: an endpoint that is new is connected to at once.
        renewed = tls.stage(change, new.tls)
        groups = endpoint_set.stage(change, config, new.addresses)
        stage_surfaces(change, config)
        change.set_limits(new.limits)
        change.set_switches(
            via=config.server.via,
            trust_forwarded=config.server.trust_forwarded,
            serve_half_close=config.server.half_close == "serve",
        )
        every = config.server.sse_keepalive
        change.set_keepalive(None if every == "auto" else float(every))
        change.set_cors(config.server.cors)
        callers = tokens.stage(change, config.auth)
        keys = stage_keys(change, config.auth, config.server.tls.identity, callers)
    for bound in running.bound:
        bound.probe_when_silent(config.server.tcp_keepalive)
    tls.adopt(new.tls)
    endpoint_set.adopt(config, groups)
    running.config = config
    tokens.adopt(config.auth)
    running.share_keys(keys)
    return renewed


def admit(running: Running, callers: Sequence[Key]) -> dict[str, int]:
    """Put the keys of these callers in force, beside those of the configuration. Returns where the
    engine has each, by digest."""
    assert running.engine is not None
    identity = running.config.server.tls.identity
    with running.engine.change() as change:
        keys = stage_keys(change, running.config.auth, identity, callers)
    running.share_keys(keys)
    return keys
