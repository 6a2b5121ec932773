"""`zeroproxy check`: everything that can be known before the first request.

An error is what would keep the proxy from starting; a warning is what would keep it from being
useful right now (an endpoint that does not answer may be up by Friday evening).
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from zeroproxy.config import Config, Upstream
from zeroproxy.config_load import load_config
from zeroproxy.errors import ConfigError, ListenError
from zeroproxy.policy.addresses import resolve
from zeroproxy.policy.readiness import can_connect
from zeroproxy.server.descriptors import connection_cap, raise_limit
from zeroproxy.server.listener import bind


@dataclass
class Findings:
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    errors: int = 0

    def ok(self, what: str, says: str) -> None:
        self.rows.append((what, "ok", says))

    def warn(self, what: str, says: str) -> None:
        self.rows.append((what, "warning", says))

    def fail(self, what: str, says: str) -> None:
        self.rows.append((what, "error", says))
        self.errors += 1


def check_listen(found: Findings, key: str, address: str) -> None:
    try:
        bind(address).close()
    except ListenError as error:
        found.fail(key, str(error))
    else:
        found.ok(key, f"{address} can be listened on")


def check_descriptors(found: Findings, config: Config) -> None:
    limit = raise_limit()
    cap = connection_cap(limit, config.limits.connections)
    says = f"{cap} connections fit {limit} descriptors"
    if config.limits.connections > cap:
        found.warn("limits.connections", f"{says}; {config.limits.connections} were asked for")
    elif cap < 1024:
        found.warn("limits.connections", f"{says}; raise the hard limit (ulimit -Hn)")
    else:
        found.ok("limits.connections", says)


async def check_upstream(found: Findings, upstream: Upstream) -> None:
    for endpoint in upstream.all_endpoints():
        key = f"upstream {upstream.name}"
        try:
            address = await resolve(endpoint.url)
        except ConfigError as error:
            found.fail(key, str(error))
            continue
        reason = await can_connect(address)
        if reason:
            found.warn(key, reason)
        else:
            found.ok(key, f"{endpoint.url} accepts connections")


async def examine(config: Config) -> Findings:
    found = Findings()
    for address in config.listens():
        check_listen(found, "server.listen", address)
    if config.admin.listen:
        check_listen(found, "admin.listen", config.admin.listen)
    check_descriptors(found, config)
    for upstream in config.upstream:
        await check_upstream(found, upstream)
    return found


def describe(config: Config) -> list[str]:
    (upstream,) = config.upstream
    t = upstream.timeouts
    queue = (
        f"at most {upstream.admission.max_inflight} in flight, {upstream.admission.queue} may wait"
        if upstream.admission.max_inflight
        else "no limit in flight"
    )
    return [
        f"would listen on {', '.join(config.listens())}"
        + (f", admin on {config.admin.listen}" if config.admin.listen else ", no admin"),
        f'would send everything to "{upstream.name}": {len(upstream.endpoints)} endpoint(s), '
        f"{upstream.balance}, {queue}",
        f"would wait {t.connect:g} s for a connection, {t.first_byte:g} s for the first byte, "
        f"{t.stream_idle:g} s between two, and try {upstream.retry.attempts} time(s)",
    ]


def check(path: str) -> int:
    """Print what was found. 0: it would start; 2: it would not. Raises ConfigError."""
    config = load_config(path)
    found = asyncio.run(examine(config))
    # A pipe or a log has no width: a sentence is never broken there.
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 400)
    table = Table(box=None, show_header=False, pad_edge=False)
    colours = {"ok": "green", "warning": "yellow", "error": "red"}
    for what, state, says in found.rows:
        table.add_row(what, f"[{colours[state]}]{state}[/]", says)
    console.print(f"{path}: the configuration is valid")
    console.print(table)
    for line in describe(config):
        console.print(line)
    sys.stdout.flush()
    return 2 if found.errors else 0
