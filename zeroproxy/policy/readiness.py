"""Whether any endpoint accepts connections, looked at only when somebody wants to know.

No timer runs while nobody asks: the state is refreshed when it is older than MAX_AGE at the moment
of a question, and continuously only until the first endpoint has answered. One endpoint that
accepts is enough, so the one that did last is asked first, and mostly alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence

from zeroproxy.policy.addresses import Address
from zeroproxy.policy.http_client import why, within
from zeroproxy.policy.tls import connect

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
        """These count from now on. What was said of others stands until they have been asked, so
        that a reload is not an outage to whoever reads it."""
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
        wait = RETRY_FIRST
        while True:
            asked = self._addresses
            reasons = await self._look(asked)
            if asked is not self._addresses:
                continue
            self._reasons = reasons
            self._ready = self._last is not None
            self._probed_at = time.monotonic()
            if once or self._ready:
                return
            await asyncio.sleep(wait)
            wait = min(2 * wait, RETRY_LAST)

    async def _look(self, asked: Sequence[Address]) -> list[str]:
        """Why none of these accepts a connection; one that does is `_last` then."""
        reasons: list[str] = []
        first = [one for one in asked if one == self._last]
        self._last = None
        rest = [one for one in asked if one not in first]
        batches = [first, *(rest[k : k + AT_ONCE] for k in range(0, len(rest), AT_ONCE))]
        for batch in batches:
            found = await asyncio.gather(*map(can_connect, batch))
            reasons += [why for why in found if why]
            self._last = next((one for one, why in zip(batch, found, strict=True) if not why), None)
            if self._last is not None:
                return []
        return reasons

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
