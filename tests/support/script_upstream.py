"""An upstream that plays exact bytes, for tests of what is on the wire.

    async def play(request: ScriptRequest, conn: ScriptConn) -> None:
        await conn.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")

    async with ScriptUpstream(play) as upstream:
        ... upstream.url ... upstream.requests[0].head ...

It reads requests, calls the handler for each, and keeps every conn and every byte it received. It
sends only the handler's bytes. A handler that returns without closing leaves the conn open for the
next request. An exception of a handler is raised again at the end of the block, except a
ConnectionError: the other side may leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType

READ = 65536
BACKLOG = 1024


@dataclass
class ScriptRequest:
    """One request as it came. `body` is without chunk framing; `raw_body` is with it."""

    head: bytes
    body: bytes
    raw_body: bytes

    @property
    def line(self) -> bytes:
        return self.head.partition(b"\r\n")[0]

    @property
    def method(self) -> bytes:
        return self.line.split(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.line.split(b" ")[1]

    def fields(self, name: bytes) -> list[bytes]:
        """The values of a field, in order."""
        lines = (line.partition(b":") for line in self.head.split(b"\r\n")[1:])
        return [v.strip() for n, colon, v in lines if colon and n.lower() == name.lower()]


class ScriptConn:
    """One conn, seen from the upstream's side. `ended` is "", "fin" or "reset"."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.number = number  # 0 for the first conn of the upstream
        self.received = bytearray()  # every byte, requests and whatever came after
        self.ended = ""
        self.is_closed = False  # by us
        self._sock = sock
        self._read_at = 0
        self._changed = asyncio.Condition()
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._reader = asyncio.ensure_future(self._receive())

    # ------------------------------------------------------------ what a handler does

    async def send(self, data: bytes) -> None:
        """Returns when the kernel took all of it. Raises ConnectionError if the peer is gone."""
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def send_bytewise(self, data: bytes) -> None:
        """One send per byte, Nagle off; the peer may still read several at once."""
        for k in range(len(data)):
            await self.send(data[k : k + 1])

    def finish(self) -> None:
        """FIN, and keep reading."""
        self._sock.shutdown(socket.SHUT_WR)

    async def close(self) -> None:
        """FIN, and read no more. With unread bytes the kernel makes an RST of it."""
        await self._shut()

    async def reset(self) -> None:
        """RST."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self._shut()

    def stop_reading(self) -> None:
        """From now on the socket's buffer fills, and the peer has to wait."""
        self._may_read.clear()

    def read_on(self) -> None:
        self._may_read.set()

    async def wait_closed(self) -> str:
        """Wait for the peer's end; "fin" or "reset". "" if we closed before."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.ended or self.is_closed)
        return self.ended

    async def wait_received(self, size: int) -> bytes:
        """Wait until the conn has received `size` bytes in all, or has ended."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.received) >= size or self._is_over())
        return bytes(self.received)

    # ------------------------------------------------------------ reading

    def _is_over(self) -> bool:
        return bool(self.ended) or self.is_closed

    async def _shut(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            # The loop must have let go of the descriptor before another may get its number.
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._sock.close()
        async with self._changed:
            self._changed.notify_all()

    async def _receive(self) -> None:
        """Read until the end; the only reader of the socket."""
        loop = asyncio.get_running_loop()
        while not self._is_over():
            await self._may_read.wait()
            try:
                data = await loop.sock_recv(self._sock, READ)
            except ConnectionError:
                self.ended = "reset"
            else:
                self.received += data
                self.ended = "" if data else "fin"
            async with self._changed:
                self._changed.notify_all()

    async def _take(self, size: int) -> bytes:
        async with self._changed:
            await self._changed.wait_for(
                lambda: len(self.received) - self._read_at >= size or self._is_over()
            )
        if len(self.received) - self._read_at < size:
            raise EOFError
        taken = bytes(self.received[self._read_at : self._read_at + size])
        self._read_at += size
        return taken

    async def _take_until(self, mark: bytes) -> bytes:
        def is_there() -> bool:
            return self.received.find(mark, self._read_at) >= 0

        async with self._changed:
            await self._changed.wait_for(lambda: is_there() or self._is_over())
        if not is_there():
            raise EOFError
        return await self._take(self.received.find(mark, self._read_at) + len(mark) - self._read_at)

    async def read_request(self) -> ScriptRequest | None:
        """The next request; None if the conn ended before it was whole."""
        try:
            head = await self._take_until(b"\r\n\r\n")
            request = ScriptRequest(head, b"", b"")
            if request.fields(b"transfer-encoding"):
                await self._read_chunks(request)
            elif lengths := request.fields(b"content-length"):
                request.body = request.raw_body = await self._take(int(lengths[0]))
        except EOFError:
            return None
        return request

    async def _read_chunks(self, request: ScriptRequest) -> None:
        while True:
            line = await self._take_until(b"\r\n")
            request.raw_body += line
            size = int(line.partition(b";")[0], 16)
            if size == 0:
                break
            data = await self._take(size + 2)
            request.raw_body += data
            request.body += data[:-2]
        while line != b"\r\n":  # trailers
            line = await self._take_until(b"\r\n")
            request.raw_body += line


Handler = Callable[[ScriptRequest, ScriptConn], Awaitable[None]]


class ScriptUpstream:
    """`async with ScriptUpstream(handler) as upstream`; on TCP, or on the unix socket `unix`."""

    def __init__(self, handler: Handler, unix: str = "") -> None:
        self.handler = handler
        self.connections: list[ScriptConn] = []
        self.requests: list[ScriptRequest] = []
        self.url = ""
        self._unix = unix
        self._tasks: list[asyncio.Task[None]] = []
        self._errors: list[Exception] = []
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> ScriptUpstream:
        if self._unix:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(self._unix)
            self._listener.listen(BACKLOG)
            self.url = f"unix:{self._unix}"
        else:
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
            self.url = f"http://127.0.0.1:{self.port}"
        self._listener.setblocking(False)
        self._start(self._accept())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listener.close()
        for conn in self.connections:
            await conn._shut()
        if self._errors and error is None:
            raise self._errors[0]

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    async def wait_connections(self, count: int) -> None:
        """Wait until so many conns have been accepted in all."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.connections) >= count)

    async def wait_requests(self, count: int) -> None:
        """Wait until so many requests have been read in all."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.requests) >= count)

    def _start(self, work: Awaitable[None]) -> None:
        self._tasks.append(asyncio.ensure_future(work))  # type: ignore[arg-type]

    async def _accept(self) -> None:
        while True:
            sock, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            sock.setblocking(False)
            if not self._unix:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            conn = ScriptConn(sock, len(self.connections))
            self.connections.append(conn)
            self._start(self._serve(conn))
            async with self._changed:
                self._changed.notify_all()

    async def _serve(self, conn: ScriptConn) -> None:
        with contextlib.suppress(ConnectionError):
            while request := await conn.read_request():
                self.requests.append(request)
                async with self._changed:
                    self._changed.notify_all()
                try:
                    await self.handler(request, conn)
                except ConnectionError:
                    raise
                except Exception as error:
                    self._errors.append(error)
                    await conn.reset()
                    return
