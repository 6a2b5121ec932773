"""The closed loop: `concurrency` callers, each with one request under way, until the window closes.

Law 1. When the window closes no request begins; what is under way is finished and still counted,
       but not in rates.
Law 2. A caller whose request failed pauses: an endpoint in trouble is not hammered.
Law 3. Callers begin a millisecond apart. To open a conn costs this program nearly that much, and
       in a burst it would time itself.
Tests: tests/unit/test_loadtest.py, tests/e2e/test_bench_command.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from zeroproxy.loadtest.dialects import Ask
from zeroproxy.loadtest.tally import Inside, Tally
from zeroproxy.loadtest.timed_request import Exchange, Target

PAUSE = 0.25  # seconds after a failure
APART = 0.001  # seconds between the first requests of two callers
Done = asyncio.Future[list[BaseException | None]]


@dataclass(frozen=True)
class Load:
    """Amount and duration of the load."""

    concurrency: int
    seconds: float
    requests: int = 0  # at most; 0: as many as fit in


class Stop:
    """Signals of the user: `gently` begins no more requests, `now` gives up those under way."""

    def __init__(self) -> None:
        self.gently = asyncio.Event()
        self.now = asyncio.Event()

    def ask(self) -> None:
        """Ctrl-C; the second is the stronger one."""
        (self.now if self.gently.is_set() else self.gently).set()


def own_times() -> tuple[float, float]:
    """Seconds this process has computed, and has waited for a core that others were on (0 where
    the system does not say)."""
    try:
        waited = int(Path("/proc/self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError):
        waited = 0.0
    return time.process_time(), waited


async def either(wish: asyncio.Event, done: Done, seconds: float | None) -> None:
    """Until one of them is there, or the time is up."""
    wished: asyncio.Future[bool] = asyncio.ensure_future(wish.wait())
    waited: set[asyncio.Future[Any]] = {wished, done}
    await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    wished.cancel()


class Slice:
    """One window against one target."""

    def __init__(self, target: Target, ask: Ask, load: Load, stop: Stop) -> None:
        self.target, self.ask, self.load, self.stop = target, ask, load, stop
        self.tally = Tally()
        self.closing = asyncio.Event()
        self.begun = 0.0

    async def run(self, session: aiohttp.ClientSession, numbers: count[int]) -> Tally:
        self.begun, own = time.perf_counter(), own_times()
        callers = [
            asyncio.create_task(self._call(session, numbers, k * APART))
            for k in range(self.load.concurrency)
        ]
        done = asyncio.gather(*callers, return_exceptions=True)
        try:
            await self._until_closed(done)
            self._close_window(own)
            await self._finish(done)
        finally:
            for caller in callers:
                caller.cancel()
            found = await done
        for error in found:
            if isinstance(error, Exception):
                raise error
        return self.tally

    async def _call(
        self, session: aiohttp.ClientSession, numbers: count[int], begins_after: float
    ) -> None:
        await asyncio.sleep(begins_after)
        limit = self.load.requests
        while not self.closing.is_set() and not (limit and self.tally.sent >= limit):
            if not await Exchange(self.target, self.ask, self.tally).run(session, next(numbers)):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.closing.wait(), PAUSE)

    async def _until_closed(self, done: Done) -> None:
        """Until the time is up, the user wants an end, or all requests are done."""
        await either(self.stop.gently, done, self.load.seconds)
        self.closing.set()

    def _close_window(self, own: tuple[float, float]) -> None:
        tally = self.tally
        seconds = time.perf_counter() - self.begun
        cpu, waited = (after - before for after, before in zip(own_times(), own, strict=True))
        tally.inside = Inside(seconds, cpu, waited, tally.answered, tally.texts, tally.tokens)

    async def _finish(self, done: Done) -> None:
        """Until the last answer has ended, or the user will not wait for it."""
        await either(self.stop.now, done, None)
