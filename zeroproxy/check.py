"""`zeroproxy check`: everything that can be known before the first request.

An error is what would keep the proxy from starting; a warning is what would keep it from being
useful right now (an endpoint that does not answer may be up by Friday evening).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp import ClientError

from zeroproxy.config import AnySink, Config, Upstream
from zeroproxy.config_files import resolve as resolve_files
from zeroproxy.config_load import load_config
from zeroproxy.errors import (
    ConfigError,
    ListenError,
    TlsError,
    UnresolvedError,
    ZeroproxyError,
)
from zeroproxy.metering.ledger import Ledger
from zeroproxy.metering.outbox import without
from zeroproxy.policy.addresses import Address, Secure, is_name, resolve
from zeroproxy.policy.backend import COST, NO_SERVER, NotYet, look_at, misses_usage
from zeroproxy.policy.probe import get_status, why
from zeroproxy.policy.readiness import TIMEOUT
from zeroproxy.policy.shares import need_redis
from zeroproxy.server.descriptors import connection_cap, raise_limit
from zeroproxy.server.listener import bind, leads_to, split_host_port
from zeroproxy.server.sinks import make_sink, name_of
from zeroproxy.server.tls import prepare_server, prepare_upstream

# Fewer connections than this, and a busy day ends in 503.
FEW_CONNECTIONS = 1024
# A certificate that ends sooner should have been renewed by now.
FEW_DAYS = 14


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


# ---------------------------------------------------------------- what is looked at


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
    elif cap < FEW_CONNECTIONS and not config.limits.connections:
        found.warn("limits.connections", f"{says}; raise the hard limit (ulimit -Hn)")
    else:
        found.ok("limits.connections", says)


def check_file(found: Findings, key: str, where: str) -> bool:
    """Whether a file can be written, without making it."""
    path = Path(where)
    target = path if path.exists() else path.parent
    if not target.exists():
        found.fail(key, f"{target} does not exist")
    elif path.is_dir():
        found.fail(key, f"{path} is a directory")
    elif not os.access(target, os.W_OK):
        found.fail(key, f"{target} cannot be written")
    else:
        found.ok(key, f"{path} can be written")
        return True
    return False


def check_log(found: Findings, spec: str) -> None:
    where = spec.removeprefix("jsonl:")
    if where not in ("stdout", "-"):
        check_file(found, "log.access", where)


def check_ledger(found: Findings, where: str) -> None:
    """Whether the ledger is one, without making it."""
    key = "metering.ledger"
    if not Path(where).is_file():
        check_file(found, key, where)
        return
    try:
        ledger = Ledger(where)
    except ZeroproxyError as error:
        found.fail(key, str(error))
        return
    rows = ledger.state()["rows"]
    ledger.close()
    found.ok(key, f"{where} is a ledger of {rows} rows")


def check_sink(found: Findings, config: AnySink) -> None:
    key = f"sink {name_of(config)}"
    try:
        sink = make_sink(config)
    except ZeroproxyError as error:
        found.fail(key, str(error))
        return
    try:
        sink.probe()
    except Exception as error:  # a client library may raise anything
        text = without(str(error), sink.secrets())
        found.warn(key, f"cannot be reached; usage would wait in the ledger: {text}")
    else:
        found.ok(key, "can be reached")
    finally:
        sink.close()


def check_certificate(found: Findings, config: Config) -> None:
    """The files of server.tls: whether they fit, and how long they are good."""
    tls = config.server.tls
    try:
        expires = prepare_server(tls).context.expires
    except (TlsError, OSError) as error:
        found.fail("server.tls", str(error))
        return
    days = ((expires or 0) - time.time()) / 86400
    until = time.strftime("%Y-%m-%d", time.gmtime(expires))
    if days <= 0:
        found.warn("server.tls", f"{tls.cert} has expired on {until}: callers will refuse it")
    elif days < FEW_DAYS:
        found.warn("server.tls", f"{tls.cert} expires on {until}, in {days:.0f} days")
    else:
        found.ok("server.tls", f"{tls.cert} fits its key and is valid until {until}")


def secure_for(found: Findings, upstream: Upstream) -> Secure | None:
    """How its https:// endpoints are asked; None: they cannot be."""
    try:
        half = prepare_upstream(upstream.tls)
    except (TlsError, OSError) as error:
        found.fail(f"upstream {upstream.name} tls", str(error))
        return None
    assert half.asks is not None
    if not upstream.tls.verify:
        found.warn(f"upstream {upstream.name} tls", "verify is false: anybody may answer")
    return Secure(half.asks, half.name)


async def check_kind(found: Findings, config: Config, upstream: Upstream, address: Address) -> None:
    """Whether it is known what server answers, where that decides what is counted."""
    if upstream.preset not in NO_SERVER or not misses_usage(config.metering):
        return
    try:
        look = await look_at(address, upstream.api_key)
    except (OSError, TimeoutError, ClientError, NotYet):
        return  # that it does not answer is said elsewhere
    if not look.kind:
        found.warn(
            f"upstream {upstream.name}",
            f"{address.url}: what server it is is not known, {look.why}: {COST}",
        )


async def check_endpoint(
    found: Findings, config: Config, upstream: Upstream, url: str, secure: Secure | None
) -> None:
    key, path = f"upstream {upstream.name}", upstream.health.path or "/health"
    try:
        address = replace(await resolve(url), secure=secure)
    except UnresolvedError as error:
        if not upstream.dns_ttl or not is_name(url):
            found.fail(key, str(error))
        else:
            found.warn(key, f"{error}; it would be out of rotation until it can be")
        return
    except ConfigError as error:
        found.fail(key, str(error))
        return
    if any(leads_to(name, address) for name in names_of(config.listens())):
        found.fail(key, f"{url}: {address.where} is this proxy's own listener")
        return
    try:
        status = await get_status(address, path, TIMEOUT)
    except TimeoutError:
        found.warn(key, f"{url}: no answer to GET {path} within {TIMEOUT:g} s")
    except OSError as error:
        found.warn(key, f"{url}: {why(error)}")
    else:
        if status == 404:
            found.ok(key, f"{url} answers; it has no {path}")
            await check_kind(found, config, upstream, address)
        elif 200 <= status < 300:
            found.ok(key, f"{url} answers; GET {path} says {status}")
            await check_kind(found, config, upstream, address)
        else:
            said = f"says {status}" if status else "is not answered in HTTP"
            found.warn(key, f"{url}: GET {path} {said}")


async def check_upstream(found: Findings, config: Config, upstream: Upstream) -> None:
    """All endpoints at once, reported in the order of the configuration."""
    each = [Findings() for _ in upstream.endpoints]
    secure = secure_for(found, upstream) if upstream.is_secure() else None
    if upstream.is_secure() and secure is None:
        return
    await asyncio.gather(
        *(
            check_endpoint(one, config, upstream, endpoint.url, secure)
            for one, endpoint in zip(each, upstream.all_endpoints(), strict=True)
        )
    )
    for one in each:
        found.rows += one.rows
        found.errors += one.errors


def names_of(listens: Iterable[str]) -> list[Any]:
    """What these listeners would be bound to; those that cannot be are reported elsewhere."""
    found: list[Any] = []
    for listen in listens:
        if listen.startswith("unix:"):
            found.append(listen.removeprefix("unix:"))
        elif not listen.startswith("fd:"):
            host, port = split_host_port(listen)
            with contextlib.suppress(OSError):
                found.append(socket.getaddrinfo(
                    host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
                )[0][4])  # fmt: skip
    return found


def is_loopback(address: str) -> bool:
    """Whether nobody outside this machine reaches it."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_doors(found: Findings, config: Config) -> None:
    """Who may come in, and whether that looks meant."""
    admin = config.admin
    if admin.listen and not is_loopback(admin.listen):
        if admin.token or admin.token_file:
            found.ok("admin.token", "is asked for")
        else:
            found.warn("admin.token", f"{admin.listen} is no loopback address, and no token is set")
    try:
        resolved = resolve_files(config)
    except ConfigError as error:
        found.fail("files", str(error))
        return
    if resolved.auth is None:
        if not all(map(is_loopback, config.listens())):
            found.warn("auth", "everybody who can reach the port may ask")
        return
    tenants = {key.owner() for key in resolved.auth.key}
    found.ok("auth", f"{len(resolved.auth.key)} keys of {len(tenants)} tenants")
    if resolved.auth.shared.url:
        try:
            need_redis()
        except ZeroproxyError as error:
            found.fail("auth.shared", str(error))


async def examine(config: Config) -> Findings:
    found = Findings()
    for address in config.listens():
        check_listen(found, "server.listen", address)
    if config.admin.listen:
        check_listen(found, "admin.listen", config.admin.listen)
    check_doors(found, config)
    if config.server.tls.cert:
        check_certificate(found, config)
    check_descriptors(found, config)
    if config.log.access:
        check_log(found, config.log.access)
    if config.metering.ledger:
        check_ledger(found, config.metering.ledger)
    for sink in config.metering.sinks:
        await asyncio.to_thread(check_sink, found, sink)
    for upstream in with_files(config).upstream:
        await check_upstream(found, config, upstream)
    return found


def with_files(config: Config) -> Config:
    """With the keys of the files it names; what is wrong with those is said elsewhere."""
    try:
        return resolve_files(config)
    except ConfigError:
        return config


# ---------------------------------------------------------------- what is said


def describe(config: Config) -> list[str]:
    lines = [
        f"would listen on {', '.join(config.listens())}"
        + (f", admin on {config.admin.listen}" if config.admin.listen else ", no admin")
    ]
    for upstream in config.upstream:
        t, admission = upstream.timeouts, upstream.admission
        queue = "no limit in flight"
        if admission.max_inflight or admission.ttft_target:
            queue = f"at most {admission.max_inflight or 'as many as answer in time'} in flight "
            queue += f"at each, {admission.queue} may wait"
        lines += [
            f'would send everything to "{upstream.name}": {len(upstream.endpoints)} endpoint(s), '
            f"{upstream.balance}, {queue}",
            f"would wait {seconds(t.connect)} for a connection, {seconds(t.first_byte)} for the "
            f"first byte, {seconds(t.stream_idle)} between two, and try "
            f"{upstream.retry.attempts} time(s)",
        ]
    m = config.metering
    if m.ledger:
        kept = f"for {m.retention_days} days" if m.retention_days else "for ever"
        on = f" and on to {', '.join(map(name_of, m.sinks))}" if m.sinks else ""
        lines.append(f"would write usage to {m.ledger}, kept {kept}{on}")
    return lines


def seconds(value: float) -> str:
    return f"{value:g} s" if value else "without limit"


def print_plain(found: Findings) -> None:
    widths = [max(len(row[k]) for row in found.rows) for k in (0, 1)]
    for what, state, says in found.rows:
        print(f"{what:<{widths[0]}}  {state:<{widths[1]}}  {says}")


def print_coloured(found: Findings) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    colours = {"ok": "green", "warning": "yellow", "error": "red"}
    for what, state, says in found.rows:
        # Text, because "[::1]" and paths are not markup.
        table.add_row(Text(what), Text(state, colours[state]), Text(says))
    Console(highlight=False).print(table)


def check(path: str) -> int:
    """Print what was found. 0: it would start; 2: it would not. Raises ConfigError."""
    config = load_config(path)
    found = asyncio.run(examine(config))
    print(f"{path}: the configuration is valid")
    sys.stdout.flush()
    (print_coloured if sys.stdout.isatty() else print_plain)(found)
    print("\n".join(describe(config)))
    return 2 if found.errors else 0
