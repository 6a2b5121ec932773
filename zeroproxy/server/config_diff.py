"""The keys that differ between two configurations, and those of them that a reload may change.

Law. A key that is not in LIVE cannot change: the reload is refused and the key named. So a new key
     needs a restart until it is added to LIVE.
Tests: tests/unit/test_reload.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from zeroproxy.config.schema import Config
from zeroproxy.errors import ReloadError

#: Keys that may change while exchanges run, and all below them; docs/reload.md is this list.
LIVE = (
    "admin.audit",
    "admin.hosts",
    "admin.insecure",
    "admin.token",
    "admin.token_file",
    "auth.cache_salt_secret",
    "auth.cache_salt_secret_file",
    "auth.forward",
    "auth.headers",
    "auth.jwt",
    "auth.key",
    "auth.keys_file",
    "auth.shared",
    "include",
    "limits",
    "log.access",
    "metering.continuous_usage",
    "metering.inject_usage",
    "server.cors",
    "server.drain_settle",
    "server.drain_timeout",
    "server.half_close",
    "server.handover_timeout",
    "server.sse_keepalive",
    "server.tcp_keepalive",
    "server.tls",
    "server.trust_forwarded",
    "server.via",
    "upstream.admission",
    "upstream.api_key",
    "upstream.api_key_file",
    "upstream.balance",
    "upstream.breaker",
    "upstream.cache_salt",
    "upstream.cookies",
    "upstream.dns_ttl",
    "upstream.endpoints",
    "upstream.engine_priority",
    "upstream.hash",
    "upstream.health",
    "upstream.hedge",
    "upstream.host",
    "upstream.models",
    "upstream.pool",
    "upstream.preset",
    "upstream.retry",
    "upstream.surface",
    "upstream.timeouts",
    "upstream.tls",
    "upstream.warmup",
)


def normal(config: Config) -> Config:
    """The same configuration in one spelling, so that only meanings differ."""
    return replace(
        config,
        server=replace(config.server, listen=config.listeners()),
        upstream=tuple(replace(u, endpoints=u.all_endpoints()) for u in config.upstream),
    )


def differences(old: Any, new: Any, key: str = "") -> Iterator[str]:
    """Keys whose values are not equal, in the order of the configuration."""
    if isinstance(old, Struct) and type(old) is type(new):
        for name in old.__struct_fields__:
            below = f"{key}.{name}" if key else name
            yield from differences(getattr(old, name), getattr(new, name), below)
    elif key == "upstream" and len(old) == len(new):
        for k, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"upstream[{k}]")
    elif old != new:
        yield key


def is_live(key: str) -> bool:
    plain = re.sub(r"\[\d+\]", "", key)
    return any(plain == live or plain.startswith(live + ".") for live in LIVE)


def plan(old: Config, new: Config) -> list[str]:
    """The keys that change. Raises ReloadError, which names those that are not live."""
    changed = list(differences(normal(old), normal(new)))
    if fixed := [key for key in changed if not is_live(key)]:
        raise ReloadError(
            f"{', '.join(fixed)}: cannot change while the proxy runs; a restart is needed"
        )
    return changed
