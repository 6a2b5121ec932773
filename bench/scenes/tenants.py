"""Four tenants, one of which floods: what the other three notice of it.

Three quiet tenants send a request every now and then; the fourth keeps many running. The time to
the first token of the quiet ones is taken without the flood and with it, in turns, once through a
proxy with keys, a limit and a fair queue, and once straight to the server, which serves in order.

    python bench/scenes/tenants.py [--turns 3] [--seconds 8]

Everything is started here, on free ports of 127.0.0.1, and ends by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))
from scenes.programs import Running, free_port, quantile

TENANTS = ("one", "two", "three", "flood")
SLOTS = 32
QUIET = 2.0  # requests per second of each quiet tenant
FLOOD = 200  # requests the fourth keeps in flight
CONFIG = """
[server]
listen = "127.0.0.1:{port}"
[admin]
listen = "127.0.0.1:{admin}"
[metering]
ledger = ""
[[upstream]]
name = "sim"
endpoints = ["{sim}"]
admission = {{ max_inflight = {slots}, queue = 1024, tenant_share = {share} }}
"""
KEY = '[[auth.key]]\nsha256 = "{digest}"\ntenant = "{name}"\n'


async def ask(session: aiohttp.ClientSession, url: str, tenant: str, tokens: int) -> float | None:
    """Seconds to the first event of one streamed answer, read to its end; None: it failed."""
    body = {
        "model": "sim-1", "stream": True, "max_tokens": tokens,
        "messages": [{"role": "user", "content": f"{tenant} {random.random()}"}],
    }  # fmt: skip
    headers = {"Authorization": f"Bearer {tenant}"}
    began, first = time.perf_counter(), None
    async with session.post(f"{url}/v1/chat/completions", json=body, headers=headers) as response:
        async for _ in response.content.iter_any():
            first = first or time.perf_counter() - began
        return first if response.status == 200 else None


async def quiet(session: aiohttp.ClientSession, url: str, tenant: str, until: float) -> list[float]:
    """An open loop: the next request is sent when it is due, whether or not the last has ended."""
    tasks = []
    while time.perf_counter() < until:
        await asyncio.sleep(random.expovariate(QUIET))
        tasks.append(asyncio.ensure_future(ask(session, url, tenant, 20)))
    found = await asyncio.gather(*tasks)
    if None in found:
        raise SystemExit(f"{found.count(None)} requests of a quiet tenant failed")
    return [seconds for seconds in found if seconds is not None]


async def flood(session: aiohttp.ClientSession, url: str, until: float) -> None:
    while time.perf_counter() < until:
        await ask(session, url, "flood", 64)


async def scene(url: str, floods: bool, seconds: float) -> list[float]:
    """Times to the first token of the quiet tenants."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        until = time.perf_counter() + seconds + floods
        rest = [asyncio.ensure_future(flood(session, url, until)) for _ in range(FLOOD * floods)]
        await asyncio.sleep(1.0 * floods)  # the flood has filled what it can
        each = await asyncio.gather(*(quiet(session, url, t, until) for t in TENANTS[:3]))
        await asyncio.gather(*rest)
    return [seconds for found in each for seconds in found]


def config_text(sim: str, port: int, share: float) -> str:
    keys = "".join(
        KEY.format(digest=hashlib.sha256(name.encode()).hexdigest(), name=name) for name in TENANTS
    )
    admin = free_port()
    return CONFIG.format(port=port, admin=admin, sim=sim, slots=SLOTS, share=share) + keys


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    args = parser.parse_args()
    found: dict[tuple[str, bool], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, Running.simulator(SLOTS) as sim:
        urls = {"no proxy": sim.url}
        proxies = []
        for name, share in (("fair queue", 1.0), ("fair queue, tenant_share 0.75", 0.75)):
            port = free_port()
            path = Path(folder) / f"{port}.toml"
            path.write_text(config_text(sim.url, port, share))
            proxies.append(Running.proxy(path, port))
            urls[name] = proxies[-1].url
        try:
            for _ in range(args.turns):
                for name, url in urls.items():
                    for floods in (False, True):
                        times = asyncio.run(scene(url, floods, args.seconds))
                        found.setdefault((name, floods), []).extend(times)
        finally:
            for proxy in proxies:
                proxy.close()
    table = Table("", "requests", "p50 quiet", "p50 flood", "p99 quiet", "p99 flood", "p99 ×")
    for name in urls:
        calm, wild = found[name, False], found[name, True]
        p99 = quantile(calm, 0.99), quantile(wild, 0.99)
        table.add_row(
            name, f"{len(calm)} + {len(wild)}",
            *(f"{1e3 * quantile(x, 0.5):.1f} ms" for x in (calm, wild)),
            *(f"{1e3 * x:.1f} ms" for x in p99), f"{p99[1] / p99[0]:.2f}",
        )  # fmt: skip
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
