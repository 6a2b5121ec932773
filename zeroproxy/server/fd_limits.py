"""The number of connections this process can hold: RLIMIT_NOFILE decides, so it is raised first.

A soft limit of 1,024 is what failed 17 % of requests in the proxy this one replaces.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource

from msgspec.structs import replace

from zeroproxy.admin.connection_limit import BACKLOG, MOST
from zeroproxy.config.schema import Limits

RESERVED = 96  # interpreter, loop, listeners, ledger, sinks, probes, DNS
TABLE_MAX = 1 << 16  # descriptors the table is grown for in advance: 8 bytes each, the kernel's


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


def admin_cap(limit: int) -> int:
    """Connections of the admin listener allowed: an eighth of all, MOST at most."""
    return max(min(MOST, limit // 8), 4)


def reserved(limit: int) -> int:
    """Descriptors that no conn of the data plane gets, whatever the admin listener is sent."""
    return RESERVED + admin_cap(limit) + BACKLOG


def connection_cap(limit: int, wanted: int) -> int:
    """Downstream conns allowed: each may need an upstream one too. `wanted` 0: as many as fit."""
    fits = max((limit - reserved(limit)) // 2, 8)
    return min(wanted, fits) if wanted else fits


def widen_table(n: int) -> None:
    """Have the kernel grow its table to `n` descriptors, TABLE_MAX at most, before they are needed.
    It doubles the table at 64, 128, 256 and so on. In a process with threads it then waits for all
    CPUs (an RCU grace period): the data plane stood still for 10 to 15 ms."""
    # Out of descriptors (at a reload), beyond the limit, no memory: then it grows when it must.
    with contextlib.suppress(OSError):
        fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.close(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, min(n, TABLE_MAX) - 1))
        finally:
            os.close(fd)


def limits_in_force(limits: Limits) -> Limits:
    """`limits` with `connections` as the descriptors allow, and the table grown for these."""
    limit = raise_limit()
    fitting = replace(limits, connections=connection_cap(limit, limits.connections))
    widen_table(min(2 * fitting.connections + reserved(limit), limit))
    return fitting
