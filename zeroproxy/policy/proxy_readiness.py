"""Readiness: one endpoint at least accepts connections. It is probed only when it is read.

No timer runs while nobody reads it. A state older than MAX_AGE is refreshed when it is read; only
until the first endpoint has accepted is it refreshed all the time. One endpoint that accepts is
enough, so the last one that did is tried first, and mostly alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from zeroproxy.backoff import Backoff
from zeroproxy.policy.http_client import why
from zeroproxy.policy.socket_addresses import Address
from zeroproxy.policy.tls import connect
from zeroproxy.tasks import cancel, within

MAX_AGE = 1.0  # seconds a probe's answer is good for
TIMEOUT = 1.0  # seconds one probe may take
RETRY_FIRST, RETRY_LAST = 0.25, 1.0  # seconds between probes until the first success
AT_ONCE = 64  # probes at a time


async def can_connect(address: Address) -> str:
    """ "" if the endpoint accepts a connection, else why not."""
    try:
        await within(TIMEOUT, connect_once(address))
    except TimeoutError:
        return f"{address.url}: no connection within {TIMEOUT:g} s"
    except OSError as error:
        return f"{address.url}: {why(error)}"
    return ""


async def connect_once(address: Address) -> None:
    _, writer = await connect(address)
    writer.transport.abort()


class Readiness:
    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = list(addresses)
        self._reasons = ["no endpoint has been reached yet"]
        self._ready = False
        self._last: Address | None = None  # accepted a connection
        self._probed_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def state(self) -> tuple[bool, list[str]]:
        """(ready, reasons why not). May start a probe; never waits for it."""
        if time.monotonic() - self._probed_at > MAX_AGE:
            self._start(once=True)
        return self._ready, [] if self._ready else list(self._reasons)

    def watch(self, addresses: Sequence[Address]) -> None:
        """These count from now on. The last answer stands until they have been probed, so that a
        reload is not an outage to its readers."""
        if addresses == self._addresses:
            return
        self._addresses = list(addresses)
        if self._last not in self._addresses:
            self._start(once=False)

    def probe_until_ready(self) -> None:
        self._start(once=False)

    def _start(self, once: bool) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._probe(once))

    async def _probe(self, once: bool) -> None:
        backoff = Backoff(RETRY_FIRST, RETRY_LAST)
        while True:
            addresses = self._addresses
            reasons = await self._try_all(addresses)
            if addresses is not self._addresses:
                continue
            self._reasons = reasons
            self._ready = self._last is not None
            self._probed_at = time.monotonic()
            if once or self._ready:
                return
            await asyncio.sleep(backoff.pause())

    async def _try_all(self, addresses: Sequence[Address]) -> list[str]:
        """The reasons why none of these accepts a connection; one that does becomes `_last`."""
        reasons: list[str] = []
        first = [one for one in addresses if one == self._last]
        self._last = None
        rest = [one for one in addresses if one not in first]
        batches = [first, *(rest[k : k + AT_ONCE] for k in range(0, len(rest), AT_ONCE))]
        for batch in batches:
            failures = await asyncio.gather(*map(can_connect, batch))
            reasons += [why for why in failures if why]
            self._last = next(
                (one for one, why in zip(batch, failures, strict=True) if not why), None
            )
            if self._last is not None:
                return []
        return reasons

    async def stop(self) -> None:
        await cancel(self._task)
        self._task = None
