"""Gaps that an attack makes between a neighbour's events: quiet and during each, and how long
after its end the proxy is as it was. Targets: p99 at most twice that of the quiet proxy, recovery
within a second. tests/faults/test_attacks.py tests correctness and memory.

The proxy has a core for itself. Attackers share the other one with the engine and the neighbour,
who go before them. The figures show the attack's effect through the proxy only.

usage: python -m bench.scenes.attacks [--seconds 3] [--tokens 100]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

from tests.support.attackers import Crowd, Memory, Neighbour, raise_nofile, raw_endpoint
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.stoppable_sim import StoppableSim

MIB = 1 << 20
WORST_RATIO, WORST_RECOVERY = 2.0, 1.0
#: A neighbour with fewer events than that was starved, whatever its gaps.
FEWEST = 50
CAP = 6000
SPAWN = multiprocessing.get_context("spawn")
HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\n"
LARGE = 4 << 20


@dataclass(frozen=True)
class Attack:
    name: str
    size: int
    says: bytes
    receives: int = 0
    again: bool = False  # one crowd after the other, for as long as it lasts


ATTACKS = (
    Attack("half-open heads", 5000, b"GET / HTTP/1.1\r\nHost: a\r\nX: y"),
    Attack("slow bodies", 1000, HEAD + b"Content-Length: 100000\r\n\r\n" + b"x" * 100),
    Attack("readers who never read", 1000, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n",
           receives=4096),
    Attack("header bombs", 50, b"GET / HTTP/1.1\r\nX: " + b"y" * 60000, again=True),
    Attack("chunk-extension bombs", 50,
           HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 60000, again=True),
    Attack("connection flood", 200, b"", again=True),
)  # fmt: skip


def p99(gaps: list[float]) -> float:
    """Milliseconds."""
    return sorted(gaps)[int(len(gaps) * 0.99)] * 1000 if gaps else float("nan")


def listen_for(port: int, tokens: int, seconds: float) -> list[float]:
    """The gaps between a neighbour's events."""
    with Neighbour(port, tokens) as neighbour:
        time.sleep(seconds)
        return list(neighbour.gaps)


def assail(port: int, attack: Attack, begun: Event, over: Event) -> None:
    """In a process of its own: the neighbour must not feel how busy the attacker is."""
    os.nice(19)
    raise_nofile(2 * CAP)
    while not over.is_set():
        with suppress(OSError), Crowd(port, attack.size, attack.says, attack.receives):
            begun.set()
            if not attack.again:
                over.wait()


def answer_large(sock: socket.socket) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE + b"x" * LARGE)


def serve_large(pipe: Connection) -> None:
    """In a process of its own: an engine whose answers fill every buffer on the way. It sends
    its URL, and ends when it receives something."""
    os.nice(19)
    raise_nofile(2 * CAP)
    with raw_endpoint(answer_large, sends=16384) as url:
        pipe.send(url)
        pipe.recv()


@contextmanager
def large_engine() -> Iterator[str]:
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=serve_large, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send("end")
        process.join()


def recovery(proxy: ProxyProcess) -> float:
    """Seconds until nothing is lent out."""
    began = time.monotonic()
    proxy.until_quiet()
    return time.monotonic() - began


def set_apart(proxy: ProxyProcess, core: int) -> None:
    """All its threads on that core; those to come inherit it."""
    for task in Path(f"/proc/{proxy.pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def baseline(proxy: ProxyProcess, options: argparse.Namespace) -> float:
    return p99(listen_for(proxy.port, options.tokens, options.seconds))


def play(proxy: ProxyProcess, attack: Attack, options: argparse.Namespace) -> bool:
    """Quiet, attack, recovery; one row. Quiet is measured anew each time: the machine drifts."""
    quiet = baseline(proxy, options)
    memory = Memory(proxy.pid)
    begun, over = SPAWN.Event(), SPAWN.Event()
    attacker = SPAWN.Process(target=assail, args=(proxy.port, attack, begun, over))
    attacker.start()
    begun.wait(60)
    gaps = listen_for(proxy.port, options.tokens, options.seconds)
    over.set()
    attacker.join()
    took = recovery(proxy)
    ratio = p99(gaps) / quiet
    has_enough = len(gaps) >= FEWEST
    fits = has_enough and ratio <= WORST_RATIO and took <= WORST_RECOVERY
    row = f"{attack.name:24} {attack.size:>5}  p99 {quiet:6.2f} -> {p99(gaps):6.2f} ms"
    row += f" ({ratio:4.2f} x)  recovery {took:5.2f} s  memory +{memory.risen() / MIB:5.1f} MiB"
    print(row if fits else f"{row}  MISSED", flush=True)
    return fits


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--tokens", type=int, default=100)
    options = parser.parse_args()
    if raise_nofile(2 * CAP) < 2 * CAP:
        sys.exit(f"needs ulimit -Hn {2 * CAP}")
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    with StoppableSim(tokens_per_second=100) as sim, large_engine() as large:
        text = upstream_toml(sim.url, models='["sim-1"]').replace('"test"', '"sim"')
        text += upstream_toml(large, health='{ path = "" }', surface='{ paths = "all" }')
        text += f"[limits]\nconnections = {CAP}\nheader_timeout = 60.0\n"
        with ProxyProcess(text) as proxy:
            set_apart(proxy, cores[-1])
            met = [play(proxy, attack, options) for attack in ATTACKS]
    load = os.getloadavg()[0]
    print(f"load average {load:.1f} on {len(cores)} cores")
    print(f"{sum(met)} of {len(met)} meet {WORST_RATIO} x quiet and {WORST_RECOVERY} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
