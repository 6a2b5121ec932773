"""`zeroproxy check`: everything that can be known before the first request.

An error would keep the proxy from starting. A warning would keep it from being useful right now: an
endpoint that does not answer may be up later. A port in use is a warning too, for the proxy may run
already. With `--offline` no port, name, endpoint or server is tried: a build machine has none.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import ClientError

from zeroproxy.commands.check_issuers import check_issuers
from zeroproxy.commands.check_priority import check_priority
from zeroproxy.commands.check_report import Findings, describe, print_coloured, print_plain
from zeroproxy.commands.check_surface import check_surface
from zeroproxy.commands.source import Source
from zeroproxy.config.check_addresses import INHERITED, is_loopback, split_host_port
from zeroproxy.config.schema import AnySink, Config, Upstream
from zeroproxy.config.secret_files import name_of
from zeroproxy.config.secret_files import resolve as resolve_files
from zeroproxy.errors import (
    ConfigError,
    ListenError,
    TlsError,
    UnresolvedError,
    ZeroproxyError,
)
from zeroproxy.metering.ledger import Ledger
from zeroproxy.metering.ledger_errors import LedgerDamaged, LedgerUnavailable
from zeroproxy.metering.otel.sink import need_otel
from zeroproxy.metering.outbox import without
from zeroproxy.policy.http_client import get_status, why
from zeroproxy.policy.proxy_readiness import TIMEOUT
from zeroproxy.policy.server_detection import COST, NO_SERVER, NotYet, identify, misses_usage
from zeroproxy.policy.shared_quota import need_redis
from zeroproxy.policy.socket_addresses import Address, ClientTls, is_name, resolve
from zeroproxy.server.fd_limits import connection_cap, raise_limit
from zeroproxy.server.listener import bind, leads_to
from zeroproxy.server.metering_pipeline import make_sink
from zeroproxy.server.tls import prepare_server, prepare_upstream

# Fewer connections than this, and a busy day ends in 503.
FEW_CONNECTIONS = 1024
# A certificate that ends sooner should have been renewed by now.
FEW_DAYS = 14


# ---------------------------------------------------------------- what is looked at


def check_listen(findings: Findings, key: str, address: str) -> None:
    if address.startswith(INHERITED):
        findings.ok(
            key, f"{address} is looked at when the proxy starts: only it is given the socket"
        )
        return
    try:
        bind(address).close()
    except ListenError as error:
        if error.is_in_use:
            findings.warn(key, f"{error}; as it should be if this proxy runs already")
        else:
            findings.fail(key, str(error))
    else:
        findings.ok(key, f"{address} can be listened on")


def check_descriptors(findings: Findings, config: Config) -> None:
    limit = raise_limit()
    cap = connection_cap(limit, config.limits.connections)
    text = f"{cap} connections fit {limit} descriptors"
    if config.limits.connections > cap:
        findings.warn("limits.connections", f"{text}; {config.limits.connections} were asked for")
    elif cap < FEW_CONNECTIONS and not config.limits.connections:
        findings.warn("limits.connections", f"{text}; raise the hard limit (ulimit -Hn)")
    else:
        findings.ok("limits.connections", text)


def check_file(findings: Findings, key: str, where: str) -> bool:
    """True if a file can be written. It is not made."""
    path = Path(where)
    target = path if path.exists() else path.parent
    if not target.exists():
        findings.fail(key, f"{target} does not exist")
    elif path.is_dir():
        findings.fail(key, f"{path} is a directory")
    elif not os.access(target, os.W_OK):
        findings.fail(key, f"{target} cannot be written")
    else:
        findings.ok(key, f"{path} can be written")
        return True
    return False


def check_log(findings: Findings, key: str, spec: str) -> None:
    where = spec.removeprefix("jsonl:")
    if where not in ("", "stdout", "-"):
        check_file(findings, key, where)


def check_ledger(findings: Findings, where: str, required: bool) -> None:
    """Check that the ledger is an SQLite file of this version, or could be made. None is made."""
    key = "metering.ledger"
    if not Path(where).is_file():
        check_file(findings, key, where)
        return
    try:
        ledger = Ledger(where)
    except (LedgerDamaged, LedgerUnavailable) as error:
        tell = findings.fail if required else findings.warn
        tell(key, str(error))
        return
    except ZeroproxyError as error:
        findings.fail(key, str(error))
        return
    rows = ledger.state()["rows"]
    ledger.close()
    findings.ok(key, f"{where} is a ledger of {rows} rows")


def check_otel(findings: Findings) -> None:
    try:
        need_otel()
    except ConfigError as error:
        findings.fail(error.key, error.message)
    else:
        findings.ok("otel.endpoint", "spans can be made; the collector was not asked")


def check_sink(findings: Findings, config: AnySink, is_offline: bool) -> None:
    key = f"sink {name_of(config)}"
    try:
        sink = make_sink(config)
    except ConfigError as error:
        of_sink = error.key.removeprefix(f"{key}: ")
        findings.fail(key, str(ConfigError(error.message, file=error.file, key=of_sink)))
        return
    except ZeroproxyError as error:
        findings.fail(key, str(error))
        return
    if is_offline:
        sink.close()
        findings.ok(key, "can be made")
        return
    try:
        sink.probe()
    except Exception as error:  # a client library may raise anything
        text = without(str(error), sink.secrets())
        findings.warn(key, f"cannot be reached; usage would wait in the ledger: {text}")
    else:
        findings.ok(key, "can be reached")
    finally:
        sink.close()


def check_certificate(findings: Findings, config: Config) -> None:
    """The files of server.tls: whether they fit, and how long they are good."""
    tls = config.server.tls
    try:
        expires = prepare_server(tls).context.expires
    except (TlsError, OSError) as error:
        findings.fail("server.tls", str(error))
        return
    days = ((expires or 0) - time.time()) / 86400
    until = time.strftime("%Y-%m-%d", time.gmtime(expires))
    if days <= 0:
        findings.warn("server.tls", f"{tls.cert} has expired on {until}: callers will refuse it")
    elif days < FEW_DAYS:
        findings.warn("server.tls", f"{tls.cert} expires on {until}, in {days:.0f} days")
    else:
        findings.ok("server.tls", f"{tls.cert} fits its key and is valid until {until}")


def client_tls_for(findings: Findings, upstream: Upstream) -> ClientTls | None:
    """TLS towards its https:// endpoints; None: it cannot be set up."""
    try:
        pair = prepare_upstream(upstream.tls)
    except (TlsError, OSError) as error:
        findings.fail(f"upstream {upstream.name} tls", str(error))
        return None
    assert pair.client is not None
    if not upstream.tls.verify:
        findings.warn(f"upstream {upstream.name} tls", "verify is false: anybody may answer")
    return ClientTls(pair.client, pair.name)


async def check_kind(
    findings: Findings, config: Config, upstream: Upstream, address: Address
) -> None:
    """Warn of an unknown server, where its kind decides what is counted."""
    if upstream.preset not in NO_SERVER or not misses_usage(config.metering):
        return
    try:
        look = await identify(address, upstream.api_key)
    except (OSError, TimeoutError, ClientError, NotYet):
        return  # another check reports that it does not answer
    if not look.kind:
        findings.warn(
            f"upstream {upstream.name}",
            f"{address.url}: what server it is is not known, {look.why}: {COST}",
        )


async def check_endpoint(
    findings: Findings, config: Config, upstream: Upstream, url: str, client_tls: ClientTls | None
) -> None:
    key, path = f"upstream {upstream.name}", upstream.health.path or "/health"
    try:
        address = replace(await resolve(url), client_tls=client_tls)
    except UnresolvedError as error:
        if not upstream.dns_ttl or not is_name(url):
            findings.fail(key, str(error))
        else:
            findings.warn(key, f"{error}; it would be out of rotation until it can be")
        return
    except ConfigError as error:
        findings.fail(key, str(error))
        return
    if any(leads_to(name, address) for name in names_of(config.listens())):
        findings.fail(key, f"{url}: {address.where} is this proxy's own listener")
        return
    try:
        status = await get_status(address, path, TIMEOUT)
    except TimeoutError:
        findings.warn(key, f"{url}: no answer to GET {path} within {TIMEOUT:g} s")
    except OSError as error:
        findings.warn(key, f"{url}: {why(error)}")
    else:
        if status == 404:
            findings.ok(key, f"{url} answers; it has no {path}")
            await check_kind(findings, config, upstream, address)
            await check_surface(findings, upstream, address)
        elif 200 <= status < 300:
            findings.ok(key, f"{url} answers; GET {path} returned {status}")
            await check_kind(findings, config, upstream, address)
            await check_priority(findings, upstream, address)
            await check_surface(findings, upstream, address)
        else:
            problem = f"returned {status}" if status else "is not answered in valid HTTP"
            findings.warn(key, f"{url}: GET {path} {problem}")


async def check_upstream(
    findings: Findings, config: Config, upstream: Upstream, is_offline: bool
) -> None:
    """All endpoints at once, reported in the order of the configuration."""
    each = [Findings() for _ in upstream.endpoints]
    client_tls = client_tls_for(findings, upstream) if upstream.is_secure() else None
    if is_offline or (upstream.is_secure() and client_tls is None):
        return
    await asyncio.gather(
        *(
            check_endpoint(one, config, upstream, endpoint.url, client_tls)
            for one, endpoint in zip(each, upstream.all_endpoints(), strict=True)
        )
    )
    for one in each:
        findings.rows += one.rows
        findings.errors += one.errors


def names_of(listens: Iterable[str]) -> list[Any]:
    """Addresses these listeners would be bound to, without those that cannot be resolved."""
    names: list[Any] = []
    for listen in listens:
        if listen.startswith("unix:"):
            names.append(listen.removeprefix("unix:"))
        elif not listen.startswith(INHERITED):
            host, port = split_host_port(listen)
            with contextlib.suppress(OSError):
                names.append(socket.getaddrinfo(
                    host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
                )[0][4])  # fmt: skip
    return names


def check_access(findings: Findings, config: Config) -> None:
    """Access to the admin port and to the data port; warns of what is open to everybody."""
    admin = config.admin
    if admin.listen and not is_loopback(admin.listen):
        if admin.token or admin.token_file:
            findings.ok("admin.token", "is asked for")
        else:
            findings.warn("admin.insecure", f"whoever reaches {admin.listen} may drain and reload")
    try:
        resolved = resolve_files(config)
    except ConfigError as error:
        findings.fail("files", str(error))
        return
    if resolved.auth is None:
        if not all(one.allow_from or is_loopback(one.address) for one in config.listeners()):
            findings.warn("auth", "everybody who can reach the port may ask")
        return
    tenants = {key.owner() for key in resolved.auth.key}
    findings.ok("auth", f"{len(resolved.auth.key)} keys of {len(tenants)} tenants")
    if resolved.auth.shared.url:
        try:
            need_redis()
        except ZeroproxyError as error:
            findings.fail("auth.shared", str(error))


def check_listeners(findings: Findings, config: Config) -> None:
    for address in config.listens():
        check_listen(findings, "server.listen", address)
    if config.admin.listen:
        check_listen(findings, "admin.listen", config.admin.listen)


async def examine(config: Config, is_offline: bool = False) -> Findings:
    findings = Findings()
    if not is_offline:
        check_listeners(findings, config)
    check_access(findings, config)
    if config.auth is not None and config.auth.jwt:
        await check_issuers(findings, config.auth.jwt, is_offline)
    if config.server.tls.cert:
        check_certificate(findings, config)
    check_descriptors(findings, config)
    check_log(findings, "admin.audit", config.admin.audit)
    check_log(findings, "log.access", config.log.access)
    if config.metering.ledger:
        check_ledger(findings, config.metering.ledger, config.metering.required)
    for sink in config.metering.sinks:
        await asyncio.to_thread(check_sink, findings, sink, is_offline)
    if config.otel.endpoint:
        check_otel(findings)
    for upstream in with_files(config).upstream:
        await check_upstream(findings, config, upstream, is_offline)
    return findings


def with_files(config: Config) -> Config:
    """With the keys of the files it names; another check reports errors in those."""
    try:
        return resolve_files(config)
    except ConfigError:
        return config


def check(source: Source, is_offline: bool = False) -> int:
    """Print what was found. 0: it would start; 2: it would not. Raises ConfigError."""
    config = source.load()
    findings = asyncio.run(examine(config, is_offline))
    (print_coloured if sys.stdout.isatty() else print_plain)(findings)
    print("\n".join(describe(config)))
    if is_offline:
        print("no port, name, endpoint or server was tried (--offline)")
    print(findings.verdict(source.path))
    return 2 if findings.errors else 0
