"""Attacks on resources. The memory of the proxy stays below its documented sizes, a caller that
streams meanwhile misses no byte, and afterwards everything is as it was.

The bounds are those of docs/security.md: structs and blocks per connection, times connections, and
a constant. bench/scenes/attacks.py measures times."""

import resource
import socket
import time
from pathlib import Path

import pytest

from tests.support.attackers import (
    LARGE,
    SMALL,
    STEADY,
    STRUCTS,
    Crowd,
    Memory,
    Neighbour,
    raise_nofile,
    raw_endpoint,
)
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.sim_thread import SimThread

HALF_OPEN, SLOW = 5000, 1000
#: Descriptors: both ends of the crowd are on this machine, and a proxy keeps a pair for each.
NEEDED = 2 * HALF_OPEN + 500
PART_OF_A_HEAD = b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: y"
UPLOAD = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100
GET = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def sim():
    with SimThread() as thread:
        yield thread


@pytest.fixture(scope="module")
def many():
    if raise_nofile(NEEDED) < NEEDED:
        pytest.skip(f"NOT TESTED: needs ulimit -Hn {NEEDED}")


def demand_quiet(proxy: ProxyProcess) -> None:
    """Recovered: nothing is lent out, and a new caller is served."""
    with Neighbour(proxy.port):
        pass
    proxy.until(lambda s: s["counters"]["relays"] == 0, 60)
    proxy.until_quiet()


def bound(conns: int, blocks: int) -> int:
    return STEADY + conns * (STRUCTS + blocks)


def test_half_open_heads_cost_a_small_block_each_and_end_by_their_deadline(sim, many):
    with ProxyProcess(upstream_toml(sim.url)) as proxy:
        with Neighbour(proxy.port):
            memory = Memory(proxy.pid)
            with Crowd(proxy.port, HALF_OPEN, PART_OF_A_HEAD) as crowd:
                proxy.until(lambda s: s["connections"]["accepted"] >= HALF_OPEN, 60)
                answers = crowd.read_to_end()
            assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)
            assert memory.risen() < bound(HALF_OPEN, SMALL)
        demand_quiet(proxy)


def test_slow_bodies_end_by_their_deadline(sim, many):
    with ProxyProcess(upstream_toml(sim.url) + "[limits]\nbody_timeout = 4.0\n") as proxy:
        with Neighbour(proxy.port):
            memory = Memory(proxy.pid)
            with Crowd(proxy.port, SLOW, UPLOAD) as crowd:
                answers = crowd.read_to_end()
            assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)
            assert memory.risen() < bound(SLOW, 2 * SMALL)
        demand_quiet(proxy)


def test_readers_who_never_read_hold_one_block_each(sim, many):
    size = 256 << 10

    def flood(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)

    with raw_endpoint(flood, sends=16384) as url:
        text = upstream_toml(sim.url, models='["sim-1"]').replace('"test"', '"sim"')
        text += upstream_toml(url, health='{ path = "" }')
        text += "[limits]\nwrite_stall_timeout = 8.0\n"
        with ProxyProcess(text) as proxy:
            with Neighbour(proxy.port):
                memory = Memory(proxy.pid)
                with Crowd(proxy.port, SLOW, GET, receives=4096):
                    proxy.until(lambda s: s["connections"]["accepted"] >= SLOW, 60)
                    # Stalled indeed: their bytes wait in blocks.
                    proxy.until(lambda s: s["counters"]["block_bytes"] > SLOW // 2 * SMALL, 60)
                    # The neighbour's own connection stays.
                    proxy.until(lambda s: s["counters"]["relays"] <= 1, 90)
                assert memory.risen() < bound(SLOW, LARGE)
            demand_quiet(proxy)


def test_heads_that_never_end_are_refused_at_their_limit(sim):
    bombs = (
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 60000,
        b"GET /" + b"y" * 60000,
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 5000,
    )
    with ProxyProcess(upstream_toml(sim.url)) as proxy:
        with Neighbour(proxy.port):
            memory = Memory(proxy.pid)
            for bomb in bombs:
                with Crowd(proxy.port, 100, bomb) as crowd:
                    answers = crowd.read_to_end()
                assert all(a.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 414 ")) for a in answers)
            assert memory.risen() < bound(100, LARGE)
        demand_quiet(proxy)


def test_chunk_extensions_and_trailers_without_end_are_refused(sim):
    head = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    bombs = (
        head + b"1;" + b"a" * 60000,
        head + b"1;a=b\r\nx\r\n" * 20000,
        head + b"0\r\n" + b"a: b\r\n" * 10000,
    )
    with ProxyProcess(upstream_toml(sim.url)) as proxy:
        with Neighbour(proxy.port):
            memory = Memory(proxy.pid)
            for bomb in bombs:
                with Crowd(proxy.port, 100, bomb) as crowd:
                    answers = crowd.read_to_end()
                assert all(b"HTTP/1.1 4" in answer[:11] for answer in answers)
            assert memory.risen() < bound(100, 2 * LARGE)
        demand_quiet(proxy)


def test_an_endpoint_that_sends_each_byte_alone_is_relayed_whole(sim):
    events = (
        b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n' * 20 + b"data: [DONE]\n\n"
    )
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n"

    def dribble(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in head % len(events) + events:
            sock.sendall(bytes((byte,)))

    with raw_endpoint(dribble) as url:
        text = upstream_toml(url, health='{ path = "" }')
        with ProxyProcess(text, wait_ready=False) as proxy:
            memory = Memory(proxy.pid)
            with Crowd(proxy.port, 32, GET) as crowd:
                answers = crowd.read_to_end()
            assert all(answer.endswith(events) for answer in answers)
            assert memory.risen() < bound(32, LARGE)
            proxy.until_quiet()


def test_a_flood_above_the_limit_is_refused_politely_and_leaves_those_inside_alone(sim):
    with ProxyProcess(upstream_toml(sim.url) + "[limits]\nconnections = 20\n") as proxy:
        with Neighbour(proxy.port):
            memory = Memory(proxy.pid)
            with Crowd(proxy.port, 19), Crowd(proxy.port, 500) as above:
                proxy.until(lambda s: s["connections"]["refused"] >= 500, 60)
                answers = above.read_to_end()
            assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in answers)
            assert memory.risen() < bound(20, LARGE)
        demand_quiet(proxy)


def test_beside_callers_of_the_admin_port_exchanges_go_on(sim):
    with ProxyProcess(upstream_toml(sim.url), nofile=128) as proxy:
        with Neighbour(proxy.port):
            memory = Memory(proxy.pid)
            with Crowd(proxy.admin_port, 70), Crowd(proxy.port, 200):
                pass
            assert memory.risen() < bound(200, SMALL)
        demand_quiet(proxy)


def test_out_of_descriptors_callers_wait_and_are_served_as_soon_as_there_are_some(sim):
    models = b"GET /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with ProxyProcess(upstream_toml(sim.url, health='{ path = "" }')) as proxy:
        before = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
        with Neighbour(proxy.port, tokens=100):
            began = time.monotonic()
            taken = {int(one.name) for one in Path(f"/proc/{proxy.pid}/fd").iterdir()}
            free = min(set(range(len(taken) + 1)) - taken)
            resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (free, before[1]))
            with Crowd(proxy.port, 100, models) as crowd:
                time.sleep(1.0)
                resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, before)
                answers = crowd.read_to_end()
            lasted = time.monotonic() - began
        assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
        starved = proxy.status()["connections"]["starved"]
        # It pauses 100 ms after each try: neither unnoticed nor a busy loop.
        assert 1 <= starved <= lasted / 0.1 + 1
        demand_quiet(proxy)
