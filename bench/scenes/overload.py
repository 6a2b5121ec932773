"""Four times the capacity of the engine: admitted requests run as at capacity, others get 503.

    python bench/scenes/overload.py [--seconds 12] [--slots 64] [--queue 2] [--times 4]

The engine is a simulator with so many slots. Loads:

- as many callers as slots (capacity); that and a full queue
- `times` as many callers, which come again after Retry-After
- `times` the rate of capacity with random gaps, however many still wait
- the same callers without limits

An answer has 10 to 30
tokens, drawn by a seed, so that slots are not freed in step.
"""

import argparse
import asyncio
import contextlib
import random
import time
from collections.abc import Iterator

from stage import Caller, Lag, Seen, proxy, quantile, simulator

TOKENS = (10, 30)
PER_SECOND, TTFT = 50.0, 0.3
SERVICE = TTFT + sum(TOKENS) / 2 / PER_SECOND
COMES_AGAIN = 1.0  # seconds; the value of Retry-After
WARM = 2.0  # seconds that are not counted
TOLD_WITHIN = 0.05


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=12.0, help="counted per load")
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--queue", type=int, default=2)
    parser.add_argument("--times", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=1)
    return parser.parse_args()


class Load:
    """Load that is offered to one address, and its results."""

    def __init__(self, address: str, seconds: float) -> None:
        self.address = address
        self.random = random.Random(7)
        self.counts_from = time.perf_counter() + WARM
        self.ends_at = self.counts_from + seconds
        self.seen: list[Seen] = []
        self.free: list[Caller] = []

    def is_on(self) -> bool:
        return time.perf_counter() < self.ends_at

    async def one(self) -> Seen:
        """One request, on a conn that nobody else uses; it counts if it begins in the window."""
        caller = self.free.pop() if self.free else Caller(self.address)
        counts = time.perf_counter() >= self.counts_from
        seen = await caller.ask(self.random.randint(*TOKENS))
        self.free.append(caller)
        if counts:
            self.seen.append(seen)
        return seen

    async def closed(self, callers: int) -> None:
        """So many callers, each with its next request when it has its answer."""

        async def call() -> None:
            await asyncio.sleep(self.random.random() * SERVICE)
            while self.is_on():
                if (await self.one()).status != 200:
                    await asyncio.sleep(COMES_AGAIN * self.random.uniform(0.9, 1.1))

        await asyncio.gather(*(call() for _ in range(callers)))

    async def open(self, rate: float) -> None:
        """So many requests a second, whatever becomes of them."""
        running, due = [], time.perf_counter()
        while self.is_on():
            due += self.random.expovariate(rate)
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            running.append(asyncio.ensure_future(self.one()))
        await asyncio.gather(*running)

    async def run(self, kind: str, amount: float) -> Lag:
        lag = Lag()
        watching = asyncio.ensure_future(lag.watch())
        await (self.open(amount) if kind == "open" else self.closed(int(amount)))
        watching.cancel()
        for caller in self.free:
            caller.close()
        return lag


def show(name: str, load: Load, lag: Lag, base: float) -> float:
    """One row; returns its p99."""
    let_in = [s.first for s in load.seen if s.status == 200]
    refused = [s.first for s in load.seen if s.status == 503]
    proper = sum(s.says_when and s.is_whole for s in load.seen if s.status == 503)
    lost = sum(s.status not in (200, 503) or not s.is_whole for s in load.seen)
    in_time = sum(t <= TOLD_WITHIN for t in refused)
    p99 = quantile(let_in, 0.99)
    change = f"{p99 / base - 1:+.0%}" if base else ""
    told = f"{1e3 * quantile(refused, 0.99):.1f} / {1e3 * max(refused):.1f}" if refused else "-"
    print(f"{name:30}{len(let_in):8}{1e3 * quantile(let_in, 0.5):9.0f}{1e3 * p99:9.0f}{change:>8}"
          f"{len(refused):9}{proper:9}{in_time:8}{told:>15}{lost:6}"
          f"{1e3 * quantile(lag.late, 0.99):9.1f}", flush=True)  # fmt: skip
    return p99


def loads(options: argparse.Namespace) -> Iterator[tuple[str, str, float, bool]]:
    """Name, kind, amount, and whether the proxy has limits."""
    slots, times = options.slots, options.times
    yield "capacity: callers = slots", "closed", slots, True
    yield "slots and queue full", "closed", slots + options.queue, True
    yield f"{times:g} x the callers", "closed", times * slots, True
    yield f"{times:g} x the rate", "open", times * slots / SERVICE, True
    yield f"{times:g} x the callers, no limits", "closed", times * slots, False


def main() -> None:
    options = parse()
    limits = f"admission = {{ max_inflight = {options.slots}, queue = {options.queue} }}"
    print(f"{options.slots} slots, {options.slots / SERVICE:.0f} answers/s; TTFT and times in ms")
    print(f"{'':30}{'let in':>8}{'p50':>9}{'p99':>9}{'':>8}{'refused':>9}{'with RA':>9}"
          f"{'<=50ms':>8}{'p99 / max':>15}{'lost':>6}{'tool p99':>9}")  # fmt: skip
    for _ in range(options.repeats):
        base = 0.0
        for name, kind, amount, is_limited in loads(options):
            with contextlib.ExitStack() as stack:
                words = {"tokens_per_second": PER_SECOND, "ttft": TTFT}
                engine = stack.enter_context(simulator(max_running=options.slots, **words))
                address = stack.enter_context(proxy(engine, limits if is_limited else ""))

                async def play(at: str, kind: str, amount: float) -> tuple[Load, Lag]:
                    load = Load(at, options.seconds)
                    return load, await load.run(kind, amount)

                load, lag = asyncio.run(play(address, kind, amount))
            p99 = show(name, load, lag, base)
            base = base or p99


if __name__ == "__main__":
    main()
