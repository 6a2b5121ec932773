"""Four tenants, one of which floods: the effect on the other three.

Three quiet tenants send a request every now and then; the fourth keeps many running. The time to
the first token of the quiet ones is taken without the flood and with it, in turns. The ways are a
proxy with keys, a limit and a fair queue, and the server itself, which serves in order.

    python bench/scenes/tenants.py [--turns 3] [--seconds 8]

Everything is started here, on free ports of 127.0.0.1, and ends by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import random
import time

from rich.console import Console
from rich.table import Table
from stage import Caller, Lag, proxy, quantile, simulator

TENANTS = ("one", "two", "three", "flood")
SLOTS = 32
QUIET = 2.0  # requests per second of each quiet tenant
FLOOD = 200  # requests the fourth keeps in flight
ADMISSION = "admission = {{ max_inflight = {}, queue = 1024, tenant_share = {} }}"
KEY = '[[auth.key]]\nsha256 = "{}"\ntenant = "{}"\n'


async def ask(address: str, tenant: str, tokens: int) -> float:
    """Seconds to the first event of one streamed answer on a new conn, read to its end."""
    caller = Caller(address)
    seen = await caller.ask(tokens, tenant)
    caller.close()
    if seen.status != 200 or not seen.is_whole:
        raise SystemExit(f"a request of {tenant} failed: status {seen.status}")
    return seen.first


async def quiet(address: str, tenant: str, until: float) -> list[float]:
    """An open loop: the next request is sent when it is due, whether or not the last has ended."""
    tasks = []
    while time.perf_counter() < until:
        await asyncio.sleep(random.expovariate(QUIET))
        tasks.append(asyncio.ensure_future(ask(address, tenant, 20)))
    return list(await asyncio.gather(*tasks))


async def flood(address: str, until: float) -> None:
    while time.perf_counter() < until:
        await ask(address, "flood", 64)


async def scene(address: str, floods: bool, seconds: float, lag: Lag) -> list[float]:
    """Times to the first token of the quiet tenants."""
    watch = asyncio.ensure_future(lag.watch())
    until = time.perf_counter() + seconds + floods
    rest = [asyncio.ensure_future(flood(address, until)) for _ in range(FLOOD * floods)]
    await asyncio.sleep(1.0 * floods)  # the flood has filled what it can
    each = await asyncio.gather(*(quiet(address, t, until) for t in TENANTS[:3]))
    await asyncio.gather(*rest)
    watch.cancel()
    return [seconds for found in each for seconds in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    args = parser.parse_args()
    found: dict[tuple[str, bool], list[float]] = {}
    lag = Lag()
    keys = "".join(KEY.format(hashlib.sha256(t.encode()).hexdigest(), t) for t in TENANTS)
    with contextlib.ExitStack() as stack:
        sim = stack.enter_context(simulator(max_running=SLOTS))
        where = {"no proxy": sim}
        for share in (1.0, 0.75):
            more = ADMISSION.format(SLOTS, share)
            where[f"tenant_share = {share:g}"] = stack.enter_context(proxy(sim, more, keys))
        for _ in range(args.turns):
            for name, address in where.items():
                for floods in (False, True):
                    times = asyncio.run(scene(address, floods, args.seconds, lag))
                    found.setdefault((name, floods), []).extend(times)
    table = Table("", "requests", "p50 quiet", "p50 flood", "p99 quiet", "p99 flood", "p99 ×")
    for name in where:
        calm, wild = found[name, False], found[name, True]
        p99 = quantile(calm, 0.99), quantile(wild, 0.99)
        table.add_row(
            name, f"{len(calm)} + {len(wild)}",
            *(f"{1e3 * quantile(x, 0.5):.1f} ms" for x in (calm, wild)),
            *(f"{1e3 * x:.1f} ms" for x in p99), f"{p99[1] / p99[0]:.2f}",
        )  # fmt: skip
    console = Console(width=120)
    console.print(table)
    console.print(f"tool p99 {1e3 * quantile(lag.late, 0.99):.1f} ms")


if __name__ == "__main__":
    main()
