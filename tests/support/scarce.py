"""Allocations that fail: every one of a change fails once, and the old settings stay in force,
whole. Run it in a process of its own, with failing_malloc.c preloaded."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from tests.support.keys import row
from tests.support.running import Running, from_nothing
from tests.support.script import LIMITS, POOL, settings
from tests.support.surfaces import surface
from zeroproxy._fast.engine.engine import Engine
from zeroproxy._fast.engine.settings_types import EndpointSettings, Route
from zeroproxy.config.cors import Cors
from zeroproxy.config.load import parse_config
from zeroproxy.errors import ReloadError
from zeroproxy.server.apply_config import Candidate, put_in_force
from zeroproxy.server.endpoints import refusing, resolve_all
from zeroproxy.server.fd_limits import limits_in_force
from zeroproxy.server.tls import PreparedTls

shim = ctypes.CDLL(None)
MOST = 400  # allocations of one change


def endpoint(n: int) -> EndpointSettings:
    return EndpointSettings(
        url=f"http://127.0.0.1:{n}", sockaddr=bytes((2, 0, 0, n, 127, 0, 0, 1)) + bytes(8),
        authority=b"127.0.0.1:%d" % n, pool=POOL,
    )  # fmt: skip


def make_engine() -> Engine:
    engine = Engine(limits=LIMITS)
    engine.add_upstream("u", settings=settings(api_key="old"), endpoints=[endpoint(1), endpoint(2)])
    engine.set_routes([Route(model="old", upstream=0, serves="real")], default=None)
    engine.set_keys([row(f"k{k}", tenant=f"t{k}", models=("old",), tokens=9) for k in range(9)])
    return engine


def in_force(engine: Engine) -> Any:
    found = engine.snapshot()
    found.pop("bounds_ns")
    return found


CHANGES: dict[str, Callable[[Engine], Any]] = {
    "add_upstream": lambda e: e.add_upstream(
        "v", settings=settings(api_key="k"), endpoints=[endpoint(7), endpoint(8)]
    ),
    "set_upstream": lambda e: e.set_upstream(0, settings=settings(api_key="new")),
    "set_routes": lambda e: e.set_routes(
        [Route(model="new", upstream=0), Route(model="other", upstream=0)], default=0
    ),
    "set_surfaces": lambda e: e.set_surfaces(
        [surface("POST /a", "GET /b/*", strip=("x-aa", "x-b-*"), refuse=("one", "two"))]
    ),
    "set_models": lambda e: e.set_models(b"[]"),
    "add_endpoint": lambda e: e.add_endpoint(0, settings=endpoint(3)),
    "remove_endpoint": lambda e: e.remove_endpoint(0),
    "set_endpoint": lambda e: e.set_endpoint(0, weight=5, draining=True),
    "set_pool": lambda e: e.set_pool(0, settings=replace(POOL, max_idle=1)),
    "set_limits": lambda e: e.set_limits(replace(LIMITS, connections=7)),
    "set_switches": lambda e: e.set_switches(
        via=False, trust_forwarded=True, serve_half_close=False
    ),
    "set_keepalive": lambda e: e.set_keepalive(9.0),
    "set_cors": lambda e: e.set_cors(Cors(origins=("https://a.test",))),
    "set_keys": lambda e: e.set_keys(
        [row(f"n{k}", tenant=f"n{k}", models=("a", "b")) for k in range(20)]
    ),
}  # fmt: skip


def try_call(name: str, n: int, goes_on: int) -> bool:
    """True if there was an n-th allocation."""
    engine, change = make_engine(), CHANGES[name]
    before = in_force(engine)
    shim.fail_at(ctypes.c_long(n), goes_on)
    try:
        change(engine)
        failed = False
    except MemoryError:
        failed = True
    calls = shim.fail_no_more()
    if failed:
        assert in_force(engine) == before, (name, n)
        change(engine)
    engine.close()
    return calls > n


OLD = """
[limits]
connections = 5
[[upstream]]
name = "u"
endpoints = ["http://127.0.0.1:1", "http://127.0.0.1:2"]
api_key = "old"
[[auth.key]]
sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
tenant = "a"
"""
NEW = """
[limits]
connections = 7
[server]
via = false
[[upstream]]
name = "u"
endpoints = ["http://127.0.0.1:2", "http://127.0.0.1:3", "http://127.0.0.1:4"]
api_key = "new"
models = [{ name = "mine", serves = "theirs" }]
balance = "fastest"
[[auth.key]]
sha256 = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
tenant = "b"
models = ["mine"]
[[auth.key]]
sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
tenant = "c"
"""


def start() -> tuple[Running, Candidate]:
    config, new = parse_config(OLD), parse_config(NEW)
    running = from_nothing(config)
    clear = PreparedTls(None, (None,))
    addresses, limits = asyncio.run(resolve_all(config)), limits_in_force(config.limits)
    put_in_force(running, Candidate(config, clear, addresses, limits, []))
    addresses = asyncio.run(resolve_all(new, running.endpoint_set.known()))
    return running, Candidate(new, clear, addresses, limits_in_force(new.limits), [])


def try_reload(n: int, goes_on: int) -> bool:
    running, new = start()
    before = (
        in_force(running.engine),
        running.config,
        running.keys,
        running.endpoint_set.addresses(),
    )
    shim.fail_at(ctypes.c_long(n), goes_on)
    try:
        put_in_force(running, new, refusing())
        failed = False
    except ReloadError:
        failed = True
    calls = shim.fail_no_more()
    now = in_force(running.engine), running.config, running.keys, running.endpoint_set.addresses()
    if failed:
        assert now == before, n
        put_in_force(running, new)
    found = in_force(running.engine)
    (upstream,) = found["upstreams"]
    assert [e["url"][-1] for e in upstream["endpoints"]] == ["2", "3", "4"]
    assert found["connections"]["limit"] == 7
    assert running.config is new.config
    running.engine.close()
    return calls > n


def all_of(attempt: Callable[[int, int], bool]) -> int:
    """How many allocations there are; each fails alone, and some with all that follow."""
    for n in range(MOST):
        if not attempt(n, 0):
            return n
        if n % 4 == 0:
            attempt(n, 1)
    raise AssertionError("it never ends")


def main(name: str) -> None:
    attempt = try_reload if name == "reload" else lambda n, on: try_call(name, n, on)
    attempt(MOST, 0)
    attempt(0, 1)
    gc.collect()
    before = shim.blocks_live()
    found = all_of(attempt)
    gc.collect()
    print(found, shim.blocks_live() - before)


if __name__ == "__main__":
    main(sys.argv[1])
