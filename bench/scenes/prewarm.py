"""The cost of the first requests of a proxy, with pool.prewarm and without.

    python bench/scenes/prewarm.py [--trials 12] [--burst 8] [--delays 0,20]

Each trial starts a proxy, waits for /readyz, and sends a burst on conns that stand: the first
requests. The third such burst after it is the warm figure. A delay of the connection is made
without root, by a relay that takes nothing from a new conn for so long. That is the cost of a
handshake over a network or TLS; the connect itself is still loopback's. Proxies take turns.
"""

import argparse
import asyncio
import contextlib
import functools
import statistics
import sys

from stage import Caller, await_ok, free_address, program, proxy, quantile, simulator

SETTLE = 0.3  # seconds after /readyz: what a start does to the machine is not what is measured
AGAIN = 3  # bursts after the first; the last of them counts as warm
KINDS = {"prewarm = 0": 0, "prewarm": 1}
ENGINE = {"tokens_per_second": 1000.0, "ttft": 0.0, "keep_alive": 60.0}


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=12, help="of each kind and delay")
    parser.add_argument("--burst", type=int, default=8, help="requests at once")
    parser.add_argument("--delays", default="0,20", help="of a connection, ms; 0: no relay")
    parser.add_argument("--relay", nargs=3, metavar=("LISTEN", "TARGET", "MS"), help="be the relay")
    return parser.parse_args()


# ---------------------------------------------------------------- the relay


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
    writer.close()


async def carry(
    target: str, delay: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """One conn: nothing passes for `delay` seconds."""
    host, port = target.split(":")
    await asyncio.sleep(delay)
    to_reader, to_writer = await asyncio.open_connection(host, int(port))
    await asyncio.gather(pump(reader, to_writer), pump(to_reader, writer))


async def relay(listen: str, target: str, ms: str) -> None:
    host, port = listen.split(":")
    take = functools.partial(carry, target, float(ms) / 1000)
    async with await asyncio.start_server(take, host, int(port)) as server:
        await server.serve_forever()


# ---------------------------------------------------------------- trials


async def bursts(address: str, n: int) -> tuple[list[float], list[float]]:
    """Seconds to the first event, of the first burst and of a warm one."""
    callers = [Caller(address) for _ in range(n)]
    for caller in callers:
        await caller.open()
    found = []
    await asyncio.sleep(SETTLE)
    for _ in range(AGAIN + 1):
        seen = await asyncio.gather(*(caller.ask(1) for caller in callers))
        if any(one.status != 200 or not one.is_whole for one in seen):
            sys.exit(f"not answered: {seen}")
        found.append([one.first for one in seen])
    for caller in callers:
        caller.close()
    return found[0], found[-1]


def run(upstream: str, trials: int, burst: int) -> dict[str, list[list[float]]]:
    """By kind and burst, the times of each trial."""
    found: dict[str, list[list[float]]] = {}
    for _ in range(trials):
        for kind, on in KINDS.items():
            more = f"pool = {{ prewarm = {burst * on}, idle_timeout = 30.0 }}"
            with proxy(upstream, more) as address:
                first, again = asyncio.run(bursts(address, burst))
            found.setdefault(f"{kind}, first", []).append(first)
            found.setdefault(f"{kind}, again", []).append(again)
    return found


def show(delay: float, found: dict[str, list[list[float]]]) -> None:
    print(f"\nconnection delayed by {delay:g} ms; TTFT in ms, medians over the trials")
    print(f"{'':24}{'fastest':>10}{'median':>10}{'slowest':>10}")
    for name, trials in found.items():
        cells = [
            1e3 * statistics.median(pick(times) for times in trials)
            for pick in (min, statistics.median, max)
        ]
        print(f"{name:24}" + "".join(f"{cell:10.2f}" for cell in cells))
    warm = [t for times in found["prewarm, again"] for t in times]
    first = [t for times in found["prewarm, first"] for t in times]
    print(f"first with prewarm / warm: median {ratio(first, warm, 0.5):.2f}, "
          f"p95 {ratio(first, warm, 0.95):.2f}")  # fmt: skip


def ratio(some: list[float], others: list[float], q: float) -> float:
    return quantile(some, q) / quantile(others, q)


def main() -> None:
    options = parse()
    if options.relay:
        asyncio.run(relay(*options.relay))
        return
    for ms in options.delays.split(","):
        with contextlib.ExitStack() as stack:
            upstream = stack.enter_context(simulator(**ENGINE))
            asyncio.run(bursts(upstream, options.burst))
            if float(ms):
                listen = free_address()
                stack.enter_context(program(__file__, "--relay", listen, upstream, ms))
                await_ok(f"http://{listen}/health")
                upstream = listen
            show(float(ms), run(upstream, options.trials, options.burst))


if __name__ == "__main__":
    main()
