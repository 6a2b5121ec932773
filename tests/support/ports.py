"""Ports for servers that must be given theirs before they listen.

A process holds a block of ports by an abstract unix address, which ends with it. So no other worker
or run on this machine gets one of them between the check and the bind. They lie below those that
Linux gives to callers, so that no connection of a test takes one either."""

from __future__ import annotations

import functools
import itertools
import random
import socket
from collections.abc import Iterator

FIRST, BLOCK, BLOCKS = 10_000, 200, 110


def takes(address: str | tuple[str, int]) -> socket.socket | None:
    """A socket bound to a unix address or to a host and port; None: somebody else has it."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    found = socket.socket(family)
    try:
        found.bind(address)
    except OSError:
        found.close()
        return None
    return found


@functools.cache
def ports() -> Iterator[int]:
    """Those of this process, again and again."""
    for k in random.sample(range(BLOCKS), BLOCKS):
        held = takes(f"\0zeroproxy-test-ports-{k}")
        if held is not None:
            held.detach()  # open as long as the process is
            return itertools.cycle(range(FIRST + k * BLOCK, FIRST + (k + 1) * BLOCK))
    raise AssertionError(f"all {BLOCKS} blocks of ports are taken")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    for port in itertools.islice(ports(), BLOCK):
        probe = takes(("127.0.0.1", port))
        if probe is not None:
            probe.close()
            return port
    raise AssertionError("every port of this process is taken")
