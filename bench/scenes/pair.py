"""Two servers, one 2.3 times as fast: the throughput of each policy.

    python bench/scenes/pair.py [--seconds 10] [--repeats 2] [--only slots,growing] [--out FILE]

Closed-loop callers request event streams, through a proxy per policy. For comparison they run
without any: so many callers pinned to the fast server, the rest to the slow one. The best of those
splits is the best that is possible with servers like these. All take turns inside each repeat. The
figure is tokens of answers per second. The servers are simulators. `slots` runs four answers at
once and makes the rest wait, as llama.cpp does. The steps of `growing` take longer the more answers
are in them.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import aiohttp

FASTER = 2.3
TOKENS_PER_SECOND = 100.0
POLICIES = ("fastest", "least_inflight", "round_robin", "power_of_two")
#: Callers, and the options of both servers.
SCENES = {
    "slots": (6, {"max-running": 4}),
    "growing": (12, {"step-growth": 0.05}),
}
CONFIG = """
[server]
listen = "{listen}"
[admin]
listen = ""
[metering]
ledger = ""
[[upstream]]
name = "pair"
balance = "{balance}"
preset = "{preset}"
endpoints = {endpoints}
"""


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="measured per turn")
    parser.add_argument("--warm", type=float, default=4.0, help="not measured, before that")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", default=",".join(SCENES))
    parser.add_argument("--preset", default="", help="vllm: the proxy also reads their gauges")
    parser.add_argument("--out", type=Path, help="JSON file")
    return parser.parse_args()


def free_address() -> str:
    """An address nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def await_listener(address: str) -> None:
    """Wait until it takes connections."""
    host, _, port = address.partition(":")
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return
        time.sleep(0.05)
    sys.exit(f"nobody listens on {address}")


@contextlib.contextmanager
def program(*words: str) -> Iterator[None]:
    """`python -m zeroproxy ...`, ended by its own handle."""
    process = subprocess.Popen(
        [sys.executable, "-m", "zeroproxy", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def open_server(stack: contextlib.ExitStack, speed: float, options: dict[str, object]) -> str:
    """One simulator; returns its URL."""
    address = free_address()
    words = [f"--{name}={value}" for name, value in options.items()]
    words += [f"--tokens-per-second={TOKENS_PER_SECOND * speed}", f"--ttft={0.02 / speed}"]
    stack.enter_context(program("sim", f"--listen={address}", *words))
    await_listener(address)
    return f"http://{address}"


def open_proxy(stack: contextlib.ExitStack, balance: str, preset: str, urls: Sequence[str]) -> str:
    """One proxy over both servers; returns its URL."""
    address = free_address()
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    text = CONFIG.format(
        listen=address, balance=balance, preset=preset, endpoints=json.dumps(list(urls))
    )
    path = Path(folder) / "pair.toml"
    path.write_text(text)
    stack.enter_context(program("-c", str(path)))
    await_listener(address)
    return f"http://{address}"


class Turn:
    """One contestant at work; `urls` has one per caller."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = urls
        self.tokens = 0

    async def run(self, warm: float, seconds: float) -> float:
        """Tokens per second."""
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            callers = [
                asyncio.ensure_future(self._call(session, url, k))
                for k, url in enumerate(self.urls)
            ]
            await asyncio.sleep(warm)
            before, began = self.tokens, time.monotonic()
            await asyncio.sleep(seconds)
            found = (self.tokens - before) / (time.monotonic() - began)
            for caller in callers:
                caller.cancel()
            ends = await asyncio.gather(*callers, return_exceptions=True)
        for end in ends:
            if not isinstance(end, asyncio.CancelledError):
                raise RuntimeError("a caller has given up") from end
        return found

    async def _call(self, session: aiohttp.ClientSession, url: str, caller: int) -> None:
        asked = 0
        while True:
            asked += 1
            body = {
                "model": "sim-1",
                "stream": True,
                "max_tokens": 16 + (7 * asked + 13 * caller) % 32,
                "messages": [{"role": "user", "content": f"{caller} {asked}"}],
            }
            async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
                answer.raise_for_status()
                async for line in answer.content:
                    self.tokens += b'"content"' in line


def contestants(stack: contextlib.ExitStack, scene: str, preset: str) -> dict[str, Sequence[str]]:
    """By name: where each caller goes."""
    callers, options = SCENES[scene]
    fast = open_server(stack, 1.0, dict(options))
    slow = open_server(stack, 1 / FASTER, dict(options))
    found: dict[str, Sequence[str]] = {}
    for balance in POLICIES:
        found[balance] = [open_proxy(stack, balance, preset, (fast, slow))] * callers
    for k in range(callers // 2, callers + 1):
        found[f"split {k}:{callers - k}"] = [fast] * k + [slow] * (callers - k)
    return found


async def measure(scene: str, options: argparse.Namespace) -> dict[str, list[float]]:
    """Tokens per second of each contestant, by repeat."""
    with contextlib.ExitStack() as stack:
        rivals = contestants(stack, scene, options.preset)
        rows: dict[str, list[float]] = {name: [] for name in rivals}
        names = list(rivals)
        for repeat in range(options.repeats):
            turn = repeat * len(names) // options.repeats
            for name in names[turn:] + names[:turn]:
                rows[name].append(await Turn(rivals[name]).run(options.warm, options.seconds))
    return rows


def main() -> int:
    """Prints a table per scene."""
    options = parse()
    results = {}
    print(f"load average {os.getloadavg()[0]:.2f} at the begin")
    for scene in options.only.split(","):
        rows = results[scene] = asyncio.run(measure(scene, options))
        best = max(statistics.median(v) for name, v in rows.items() if name.startswith("split"))
        print(f"\n{scene}: {SCENES[scene][0]} callers, tokens/s, share of the best split")
        for name, values in rows.items():
            each = " ".join(f"{value:.0f}" for value in values)
            print(f"{name:16} {statistics.median(values):7.1f} "
                  f"{statistics.median(values) / best:7.1%}   ({each})")  # fmt: skip
    if options.out:
        options.out.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
