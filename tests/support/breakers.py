"""The terms of a breaker, answers that move it, and scripts whose first endpoint has one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from tests.support.script import Peer, Script, get, ok, play
from zeroproxy.config.schema import Breaker

BREAKER = Breaker(failures=3, window=60.0, open_for=0.05, slow_start=0.0)


def status(code: int) -> bytes:
    return b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % code


def terms(**more: Any) -> Breaker:
    return replace(BREAKER, **more)


NO_ONE = b"HTTP/1.1 503 "


@contextmanager
def pair(**words: Any) -> Iterator[Script]:
    """Two endpoints: all goes to the first as long as its breaker lets it."""
    with play(endpoints=2, balance="round_robin", **words) as script:
        script.engine.set_endpoint(0, weight=1_000_000)
        yield script


def state(script: Script, endpoint: int = 0) -> str:
    return str(endpoints(script)[endpoint]["breaker"]["state"])


def endpoints(script: Script) -> list[dict]:
    return list(script.engine.snapshot()["upstreams"][0]["endpoints"])


def moves(script: Script) -> tuple[int, ...]:
    to = endpoints(script)[0]["breaker"]["to"]
    return to["closed"], to["half_open"], to["open"]


def exchange_once(script: Script, answer: bytes, endpoint: int = 0) -> bytes:
    """One exchange on a new caller's conn, over a new conn upstream."""
    d = script.downstream()
    d.send(get(extra=b"Connection: close\r\n"))
    u = script.upstream(endpoint)
    u.receive()
    u.send(answer.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
    found = d.receive()
    u.close()
    d.close()
    return found


def open_it(script: Script) -> None:
    while state(script) != "open":
        exchange_once(script, status(500))


def let_through(script: Script) -> tuple[Peer, Peer]:
    """Ask until the breaker of the first is due: (caller, endpoint) of the probe."""
    while True:
        d = script.downstream()
        d.send(get(extra=b"Connection: close\r\n"))
        if script.has_connected():
            return d, script.upstream()
        serve_other(script, d)


def serve_other(script: Script, d: Peer) -> None:
    u = script.upstream(1)
    u.send(ok(b"other", extra=b"Connection: close\r\n"))
    assert d.receive().endswith(b"other")
    u.close()
    d.close()


def goes_elsewhere(script: Script) -> bool:
    d = script.downstream()
    d.send(get(extra=b"Connection: close\r\n"))
    if script.has_connected():
        return False
    serve_other(script, d)
    return True
