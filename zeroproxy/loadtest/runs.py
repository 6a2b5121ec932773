"""All slices of all concurrencies, in an order that is fair to both sides of a comparison."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import aiohttp

from zeroproxy.loadtest.dialects import Ask
from zeroproxy.loadtest.loop import Load, Slice, Stop
from zeroproxy.loadtest.options import UNIX, Settings
from zeroproxy.loadtest.tally import Tally
from zeroproxy.loadtest.timed_request import Target

CONNECT_TIMEOUT = 30.0


@dataclass
class Side:
    """Results of one target at one concurrency."""

    target: Target
    slices: list[Tally] = field(default_factory=list)

    @property
    def all(self) -> Tally:
        found = Tally()
        for one in self.slices:
            found.merge(one)
        return found


@dataclass
class Run:
    """One concurrency."""

    concurrency: int
    sides: list[Side]


@asynccontextmanager
async def open_session(target: Target, settings: Settings) -> AsyncIterator[aiohttp.ClientSession]:
    """Keeps as many conns as there are callers."""
    connector: aiohttp.BaseConnector
    if target.name.startswith(UNIX):
        connector = aiohttp.UnixConnector(target.name.removeprefix(UNIX), limit=0)
    else:
        connector = aiohttp.TCPConnector(limit=0, ssl=settings.verifies, ttl_dns_cache=None)
    timeout = aiohttp.ClientTimeout(total=settings.timeout, sock_connect=CONNECT_TIMEOUT)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield session


def turns(sides: int, slices: int) -> list[int]:
    """Which side's turn it is: 0 1 1 0 0 1 1 0, so that a drift of the machine hits both alike."""
    if sides == 1:
        return [0]
    return [side for k in range(slices) for side in ((0, 1) if k % 2 == 0 else (1, 0))]


def share_of(settings: Settings, concurrency: int, turn: int) -> Load:
    """The load of the turn-th slice of a side."""
    parts = settings.slices if len(settings.targets) > 1 else 1
    requests = settings.requests // parts + (turn < settings.requests % parts)
    return Load(concurrency, settings.seconds / parts, requests)


async def measure(
    settings: Settings, asks: list[Ask], stop: Stop, watch: Callable[[Slice], None]
) -> AsyncIterator[Run]:
    """Yields each concurrency when its slices begin, to be filled until the next one comes."""
    numbers = count(1)
    for concurrency in settings.concurrency:
        run = Run(concurrency, [Side(target) for target in settings.targets])
        for which in turns(len(settings.targets), settings.slices):
            if stop.gently.is_set():
                break
            side = run.sides[which]
            load = share_of(settings, concurrency, len(side.slices))
            if settings.requests and not load.requests:
                side.slices.append(Tally())
                continue
            piece = Slice(side.target, asks[which], load, stop)
            watch(piece)
            side.slices.append(piece.tally)
            async with open_session(side.target, settings) as session:
                await piece.run(session, numbers)
        if any(one.sent for side in run.sides for one in side.slices):
            yield run
