"""Requests that wait for an endpoint: what /status tells of them, and scripts that hold them."""

from __future__ import annotations

from typing import Any

from tests.support.script import Peer, Script, get


def holding(script: Script) -> dict[str, Any]:
    return dict(script.engine.snapshot()["upstreams"][0]["holding"])


def queued(script: Script) -> int:
    return int(script.engine.snapshot()["upstreams"][0]["queued"])


def callers(script: Script, n: int, *, extra: bytes = b"") -> list[Peer]:
    """So many callers, each with a request of its own."""
    found = [script.downstream() for _ in range(n)]
    for k, d in enumerate(found):
        d.send(get(b"/%d" % k, extra))
    return found


def down(script: Script, n: int, *, extra: bytes = b"") -> list[Peer]:
    """The only endpoint is out of rotation; so many callers wait."""
    script.engine.set_endpoint(0, up=False)
    return callers(script, n, extra=extra)


def up(script: Script) -> None:
    script.engine.set_endpoint(0, up=True)
    script.turn()
