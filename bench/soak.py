"""A real proxy under everything that goes wrong in a day, for as long as the option sets.

Callers leave at any moment or send nonsense, reloads come, endpoints are killed and come back.

usage: python -m bench.soak [--seconds 1800] [--callers 12]
Exit status 1: something was not released, descriptors or memory grow, or the proxy was not well.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.attackers import chat
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.stoppable_sim import StoppableSim

#: Bounds. A slope needs time to mean anything: in short runs only the rise is judged.
MIB = 1 << 20
SLOPE_MIB_PER_HOUR, SLOPE_NEEDS, RISE_MIB, MORE_FDS = 1.0, 1500.0, 8.0, 8
WARM_UP = 0.3
EVERY, CHAOS_EVERY = 1.0, 4.0


@dataclass
class Sample:
    at: float
    rss: int
    fds: int


@dataclass
class Soak:
    """One run: what the threads share."""

    port: int
    ends: float
    counts: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_on(self) -> bool:
        return time.monotonic() < self.ends

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1


def request(tokens: int) -> bytes:
    body = chat(tokens)
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    return f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def call(soak: Soak, dice: random.Random) -> None:
    """One caller's visit, which ends in one of the ways it can."""
    way = dice.choice(("whole", "whole", "whole", "leaves", "resets", "half", "nonsense"))
    said = request(dice.randint(1, 40))
    if way == "half":
        said = said[: dice.randrange(1, len(said))]
    elif way == "nonsense":
        said = dice.randbytes(dice.randint(1, 400))
    with socket.create_connection(("127.0.0.1", soak.port), timeout=30) as sock:
        sock.sendall(said)
        if way == "resets":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if way in ("leaves", "resets"):
            sock.recv(dice.randint(1, 2000))
        elif way != "half":
            received = b""
            while data := sock.recv(65536):
                received += data
            if way == "whole":
                way = "whole" if received.endswith(b"0\r\n\r\n") else "cut or refused"
    soak.count(way)


def keep_calling(soak: Soak, seed: int) -> None:
    dice = random.Random(seed)
    while soak.is_on():
        try:
            call(soak, dice)
        except OSError as error:
            soak.count(type(error).__name__)


def stir(soak: Soak, proxy: ProxyProcess, sims: tuple[StoppableSim, StoppableSim]) -> None:
    """Reloads, and one endpoint killed at a time; both run in the end."""
    plain, turn = proxy.path.read_text(), 0
    while soak.is_on():
        time.sleep(CHAOS_EVERY)
        turn += 1
        proxy.path.write_text(f"{plain}\n[limits]\nidle_timeout = {60 + turn % 7}.0\n")
        os.kill(proxy.pid, signal.SIGHUP)
        soak.count("reloads")
        sims[turn % 2].stop(signal.SIGKILL)
        soak.count("kills")
        time.sleep(CHAOS_EVERY / 2)
        sims[turn % 2].start()


def sample(proxy: ProxyProcess, began: float) -> Sample:
    proc = Path(f"/proc/{proxy.pid}")
    pages = int((proc / "statm").read_text().split()[1])
    fds = len(list((proc / "fd").iterdir()))
    return Sample(time.monotonic() - began, pages * os.sysconf("SC_PAGESIZE"), fds)


def slope(samples: list[Sample]) -> float:
    """Least squares, MiB an hour."""
    n = len(samples)
    mean_at, mean = sum(s.at for s in samples) / n, sum(s.rss for s in samples) / n
    over = sum((s.at - mean_at) * (s.rss - mean) for s in samples)
    under = sum((s.at - mean_at) ** 2 for s in samples)
    return over / under / MIB * 3600 if under else 0.0


def run(proxy: ProxyProcess, sims: tuple[StoppableSim, StoppableSim], options: argparse.Namespace
        ) -> tuple[Soak, list[Sample]]:  # fmt: skip
    began = time.monotonic()
    soak = Soak(proxy.port, began + options.seconds)
    threads = [threading.Thread(target=stir, args=(soak, proxy, sims))]
    crowd = range(options.callers)
    threads += [threading.Thread(target=keep_calling, args=(soak, seed)) for seed in crowd]
    for thread in threads:
        thread.start()
    samples = []
    while soak.is_on():
        with suppress(OSError):
            samples.append(sample(proxy, began))
        time.sleep(EVERY)
    for thread in threads:
        thread.join()
    return soak, samples


def judge(samples: list[Sample], fds: tuple[int, int], seconds: float) -> list[str]:
    """Faults that were found; prints the figures."""
    warm = samples[int(len(samples) * WARM_UP) :]
    quarter = max(len(warm) // 4, 1)
    first = sum(s.rss for s in warm[:quarter]) / quarter
    last = sum(s.rss for s in warm[-quarter:]) / quarter
    grows = slope(warm)
    print(f"memory {first / MIB:.1f} -> {last / MIB:.1f} MiB, slope {grows:+.2f} MiB/h")
    print(f"descriptors {fds[0]} -> {fds[1]}, at most {max(s.fds for s in samples)}")
    wrong = []
    if seconds >= SLOPE_NEEDS and grows >= SLOPE_MIB_PER_HOUR:
        wrong.append("memory grows")
    if (last - first) / MIB >= RISE_MIB:
        wrong.append("memory has risen")
    if fds[1] > fds[0] + MORE_FDS:
        wrong.append("descriptors were not given back")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--callers", type=int, default=12)
    options = parser.parse_args()
    with StoppableSim() as one, StoppableSim() as other:
        health = "{ interval = 0.5, timeout = 0.4 }"
        with ProxyProcess(upstream_toml(one.url, other.url, health=health)) as proxy:
            before = sample(proxy, 0.0).fds
            soak, samples = run(proxy, (one, other), options)
            try:
                quiet = proxy.until_quiet()
                wrong = []
            except AssertionError as error:
                quiet, wrong = proxy.status(), [str(error)]
            wrong += judge(samples, (before, sample(proxy, 0.0).fds), options.seconds)
            print("visits", dict(sorted(soak.counts.items())))
            print("counters", quiet["counters"])
    print("; ".join(f"FAILED: {one}" for one in wrong) or "nothing grows, nothing is left")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
