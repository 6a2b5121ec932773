"""Overload with official SDK clients that try again: requests that arrive per answered one.

    python bench/scenes/retries.py [--seconds 50] [--callers 200] [--slots 20] [--times 2]

Half of the callers are AsyncOpenAI, half AsyncAnthropic, as they are installed: two retries, their
own delays. Each asks, thinks, asks again. Without any wait they would offer `times` the capacity.
Once the proxy steers retries, once it does not (admission.steer_retries). With --npm FOLDER half of
the callers are the clients of npm in its node_modules; the calls that are shown are the others'.
"""

import argparse
import asyncio
import contextlib
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import anthropic
import openai
from stage import program_pair

TTFT, TOKENS, PER_SECOND = 1.0, 50, 50.0
SERVICE = TTFT + TOKENS / PER_SECOND
WARM = 15.0  # seconds that are not counted
MESSAGES = [{"role": "user", "content": "x"}]


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=50.0, help="counted per run")
    parser.add_argument("--callers", type=int, default=200)
    parser.add_argument("--slots", type=int, default=20)
    parser.add_argument("--queue", type=int, default=20)
    parser.add_argument("--times", type=float, default=2.0)
    parser.add_argument(
        "--npm", metavar="FOLDER", default="", help="with openai, @anthropic-ai/sdk"
    )
    return parser.parse_args()


@dataclass
class Crowd:
    """The callers, and the ends of their calls."""

    address: str
    think: float
    dice: random.Random = field(default_factory=lambda: random.Random(7))
    ends: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        base = f"http://{self.address}"
        self.openai = openai.AsyncOpenAI(base_url=f"{base}/v1", api_key="none", timeout=120)
        self.anthropic = anthropic.AsyncAnthropic(base_url=base, api_key="none", timeout=120)

    async def one(self, k: int) -> None:
        if k % 2:
            await self.openai.chat.completions.create(
                model="sim-1", max_tokens=TOKENS, messages=MESSAGES
            )
        else:
            await self.anthropic.messages.create(
                model="sim-1", max_tokens=TOKENS, messages=MESSAGES
            )

    async def call(self, k: int) -> None:
        await asyncio.sleep(self.dice.random() * (self.think + SERVICE))
        while True:
            try:
                await self.one(k)
                self.ends["answered"] += 1
            except (openai.APIStatusError, anthropic.APIStatusError) as error:
                self.ends[f"failed: {error.status_code}"] += 1
            except (openai.APIConnectionError, anthropic.APIConnectionError) as error:
                self.ends[f"failed: {type(error).__name__}"] += 1
            await asyncio.sleep(self.dice.expovariate(1 / self.think))


async def arrived(admin: str) -> Counter[int]:
    """Requests that have ended at the proxy so far, by status."""
    found: Counter[int] = Counter()
    async with aiohttp.ClientSession() as session, session.get(f"http://{admin}/status") as answer:
        for row in (await answer.json())["requests"]:
            found[row["status"]] += row["count"]
    return found


async def play(address: str, admin: str, options: argparse.Namespace) -> None:
    capacity = options.slots / SERVICE
    crowd = Crowd(address, options.callers / (options.times * capacity) - SERVICE)
    of_npm = options.callers // 2 if options.npm else 0
    tasks = [asyncio.ensure_future(crowd.call(k)) for k in range(options.callers - of_npm)]
    with npm(options.npm, address, of_npm, crowd.think):
        await observe(crowd, admin, options.seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await crowd.openai.close()
    await crowd.anthropic.close()


@contextlib.contextmanager
def npm(folder: str, address: str, callers: int, think: float) -> Iterator[None]:
    """So many callers in a process of node; none without a folder."""
    if not folder:
        yield
        return
    script = Path(__file__).with_suffix(".mjs")
    process = subprocess.Popen(["node", script, folder, address, str(callers), str(think)])
    try:
        yield
        if process.poll() is not None:
            sys.exit(f"node ended with status {process.returncode}")
    finally:
        process.kill()
        process.wait()


async def observe(crowd: Crowd, admin: str, seconds: float) -> None:
    """Print a line on what ends in the window."""
    await asyncio.sleep(WARM)
    crowd.ends.clear()
    before = await arrived(admin)
    await asyncio.sleep(seconds)
    seen = await arrived(admin) - before
    ends = dict(crowd.ends)
    print(f"  arrived {seen.total()}, answered {seen[200]}, per answered one"
          f" {seen.total() / max(seen[200], 1):.2f}; calls: {ends}", flush=True)  # fmt: skip


def main() -> None:
    options = parse()
    print(f"{options.callers} callers, openai {openai.__version__}, anthropic"
          f" {anthropic.__version__}; capacity {options.slots / SERVICE:g} answers/s")  # fmt: skip
    for steers in ("false", "true"):
        print(f"steer_retries = {steers}", flush=True)
        limits = f"max_inflight = {options.slots}, queue = {options.queue}"
        more = f"admission = {{ {limits}, steer_retries = {steers} }}"
        words = {"tokens_per_second": PER_SECOND, "ttft": TTFT, "max_running": options.slots}
        with program_pair(more, **words) as (address, admin):
            asyncio.run(play(address, admin, options))


if __name__ == "__main__":
    main()
