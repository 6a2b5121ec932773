"""A small HTTP server over asyncio, whose conns end as a test wants; a thread of its own.

Each conn serves `first` requests. The next one is a race: the server ends the conn instead of
answering, in the way of `how`. That is "fin" or "rst"; "unread" (it never reads the request) or
"read" (it has read the head). Every body it has answered is noted.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
import threading
from collections import Counter

HOWS = ("fin unread", "rst unread", "fin read", "rst read")


async def readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(sock)


async def read_request(sock: socket.socket) -> bytes | None:
    """The body; None: the peer has closed."""
    loop = asyncio.get_running_loop()
    data = b""
    while b"\r\n\r\n" not in data:
        more = await loop.sock_recv(sock, 65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    (length,) = (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n")
                 if line.startswith(b"content-length:"))  # fmt: skip
    while len(body) < length:
        body += await loop.sock_recv(sock, 65536)
    return body


async def end(sock: socket.socket, how: str) -> None:
    if "rst" in how:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif "unread" in how:
        # A close over unread bytes would send a RST.
        sock.shutdown(socket.SHUT_WR)
        while await asyncio.get_running_loop().sock_recv(sock, 65536):
            pass


class KeepaliveServer:
    """`url`, what it `answered` (body: how often), how many `races` there were."""

    def __init__(self, first: int = 1, hows: tuple[str, ...] = HOWS, extra: str = "") -> None:
        self.first, self.extra = first, extra
        self._hows = itertools.cycle(hows)
        self.answered: Counter[bytes] = Counter()
        self.races = 0
        self.accepted = 0
        self._started = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._server.setblocking(False)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.ensure_future(self._accept())
        self._started.set()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _accept(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                sock, _ = await self._loop.sock_accept(self._server)
                sock.setblocking(False)
                self.accepted += 1
                group.create_task(self._serve(sock))

    async def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            for _ in range(self.first):
                body = await read_request(sock)
                if body is None:
                    return
                self.answered[body] += 1
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{self.extra}\r\n"
                await self._loop.sock_sendall(sock, head.encode() + body)
            how = next(self._hows)
            if "unread" in how:
                await readable(sock)
                data: bytes | None = sock.recv(1, socket.MSG_PEEK)
            else:
                data = await read_request(sock)
            if data:
                self.races += 1
                await end(sock, how)

    def __enter__(self) -> KeepaliveServer:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()
        self._server.close()
