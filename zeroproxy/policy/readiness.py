"""Whether any endpoint accepts connections, looked at only when somebody wants to know.

No timer runs while nobody asks: the state is refreshed when it is older than MAX_AGE at the moment
of a question, and continuously only until the first endpoint has answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from zeroproxy.policy.addresses import Address
from zeroproxy.policy.probe import why
from zeroproxy.policy.secure import connect

MAX_AGE = 1.0  # seconds a probe's answer is good for
TIMEOUT = 1.0  # seconds one probe may take
RETRY = 0.25  # seconds between probes until the first success


async def can_connect(address: Address) -> str:
    """ "" if the endpoint accepts a connection, else why not."""
    try:
        async with asyncio.timeout(TIMEOUT):
            _, writer = await connect(address)
    except TimeoutError:
        return f"{address.url}: no connection within {TIMEOUT:g} s"
    except OSError as error:
        return f"{address.url}: {why(error)}"
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return ""


class Readiness:
    def __init__(self, addresses: list[Address]) -> None:
        self._addresses = addresses
        self._reasons = ["no endpoint has been reached yet"]
        self._ready = False
        self._probed_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def state(self) -> tuple[bool, list[str]]:
        """(ready, reasons why not). May start a probe; never waits for it."""
        if time.monotonic() - self._probed_at > MAX_AGE:
            self._start(once=True)
        return self._ready, [] if self._ready else list(self._reasons)

    def watch(self, addresses: list[Address]) -> None:
        """These count from now on. What was said of others stands until they have been asked, so
        that a reload is not an outage to whoever reads it."""
        if addresses != self._addresses:
            self._addresses = addresses
            self._start(once=False)

    def probe_until_ready(self) -> None:
        self._start(once=False)

    def _start(self, once: bool) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._probe(once))

    async def _probe(self, once: bool) -> None:
        while True:
            asked = self._addresses
            results = await asyncio.gather(*map(can_connect, asked))
            if asked is not self._addresses:
                continue
            self._reasons = [reason for reason in results if reason]
            self._ready = len(self._reasons) < len(asked)
            self._probed_at = time.monotonic()
            if once or self._ready:
                return
            await asyncio.sleep(RETRY)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
