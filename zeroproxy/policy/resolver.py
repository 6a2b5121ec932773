"""Names to addresses, in threads of our own.

Law 1. Each look-up has TIMEOUT seconds, then it counts as failed. Its thread may go on for as long
       as the C library likes: neither other work of the loop nor the exit waits for it.
Law 2. At most one thread per name, and AT_ONCE in all. While a look-up of a name hangs it is not
       looked up once more: the answer is for both.
Tests: tests/unit/test_resolver.py.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from concurrent.futures import Future
from typing import Any

TIMEOUT = 5.0  # seconds; glibc's own: 5 s per server and try
AT_ONCE = 64

#: Families and addresses.
AddressInfos = list[tuple[int, tuple[Any, ...]]]

_guard = threading.Lock()
_running: dict[tuple[str, int], Future[AddressInfos]] = {}


def get_addresses(host: str, port: int) -> AddressInfos:
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(int(family), where) for family, _, _, _, where in infos]


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def start(host: str, port: int) -> Future[AddressInfos]:
    """A look-up under way. Raises OSError if there are too many."""
    with _guard:
        future = _running.get((host, port))
        if future is not None:
            return future
        if len(_running) >= AT_ONCE:
            raise OSError("too many names are being looked up")
        future = _running[host, port] = Future()
        # A caller that gives up cancels its own wait, not the look-up.
        future.set_running_or_notify_cancel()
    # Daemons: those of an executor are joined at the exit, however long they hang.
    threading.Thread(
        target=finish, args=(host, port, future), name="zeroproxy-dns", daemon=True
    ).start()
    return future


def finish(host: str, port: int, future: Future[AddressInfos]) -> None:
    addresses: AddressInfos = []
    failure: Exception | None = None
    try:
        addresses = get_addresses(host, port)
    except Exception as error:
        failure = error
    # First: a caller that sees the end may ask again at once.
    with _guard:
        del _running[host, port]
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(addresses)


async def look_up(host: str, port: int) -> AddressInfos:
    """Every address of a name. Raises OSError, also if it takes too long."""
    if is_address(host):
        return get_addresses(host, port)  # sends no query
    loop = asyncio.get_running_loop()
    until = loop.time() + TIMEOUT
    while True:
        try:
            future = start(host, port)
            break
        except OSError:
            if loop.time() > until:
                raise
            await asyncio.sleep(0.05)
    try:
        async with asyncio.timeout_at(until):
            return await asyncio.wrap_future(future)
    except TimeoutError:
        raise OSError(f"no answer within {TIMEOUT:g} s") from None
