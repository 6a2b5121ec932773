"""Helpers for the tests of pools, over a Script."""

from __future__ import annotations

from typing import Any

from tests.support.exchanges import connected
from tests.support.script import Peer, Script, get, ok


def endpoint(script: Script, k: int = 0) -> dict[str, Any]:
    script.turn()
    return script.engine.snapshot()["upstreams"][0]["endpoints"][k]


def pool(script: Script, k: int = 0) -> dict[str, Any]:
    return endpoint(script, k)["pool"]


def exchange_on(script: Script, u: Peer, d: Peer | None = None, extra: bytes = b"") -> Peer:
    """One exchange that `u` serves; returns the caller."""
    d = d or script.downstream()
    d.send(get())
    return finish_exchange(d, u, extra)


def first(script: Script, extra: bytes = b"") -> tuple[Peer, Peer]:
    """A caller and the conn that has served it once."""
    d, u = connected(script, get())
    return finish_exchange(d, u, extra), u


def finish_exchange(d: Peer, u: Peer, extra: bytes) -> Peer:
    """`u` reads the request that has been sent, and answers it; returns the caller."""
    assert u.receive().startswith(b"GET ")
    u.send(ok(extra=extra))
    assert d.receive().endswith(b"ok")
    return d


def accept(script: Script, n: int, k: int = 0) -> list[Peer]:
    found = [script.upstream(k) for _ in range(n)]
    assert not script.has_connected(k)
    return found
