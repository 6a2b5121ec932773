"""Wire scripts: an Engine cranked by hand over real sockets. No loop, no sleep, no second thread.

Loopback and unix sockets deliver before `send` returns, so after each step `turn()` has everything
to look at. A test reads like the wire:

    d = script.downstream()
    d.send(GET)
    u = script.upstream()
    assert u.receive() == GET_FORWARDED
    u.send(OK)
    assert d.receive() == OK_FORWARDED
"""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tests.support.settings import LIMITS, POOL, settings
from zeroproxy._fast.engine.engine import Engine
from zeroproxy._fast.engine.settings_types import EndpointSettings, UpstreamSettings


class Peer:
    """One end of a conversation with the engine; every step cranks it."""

    def __init__(self, script: Script, sock: socket.socket) -> None:
        self.script = script
        self.sock = sock
        sock.setblocking(False)

    def put(self, data: bytes) -> int:
        """Send without cranking: the engine sees it with whatever comes next."""
        return self.sock.send(data)

    def send(self, data: bytes) -> None:
        """Send all of it, cranking while the engine drains."""
        while data:
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                self.script.turn()
                if not select.select([], [self.sock], [], 5)[1]:
                    raise AssertionError("the engine does not read") from None
        self.script.turn()

    def send_bytewise(self, data: bytes) -> None:
        for k in range(len(data)):
            self.send(data[k : k + 1])

    def send_some(self, data: bytes) -> int:
        """Send what the socket takes now, and crank; returns how much that was."""
        sent = 0
        while sent < len(data):
            try:
                sent += self.sock.send(data[sent : sent + 65536])
            except BlockingIOError:
                break
        self.script.turn()
        return sent

    def push(self) -> bool:
        """True if all bytes that were handed over have been sent."""
        return True

    def read(self, n: int) -> bytes | None:
        """None: nothing there; b"": the end."""
        try:
            return self.sock.recv(n)
        except BlockingIOError:
            return None

    def receive(self, limit: int = 1 << 30) -> bytes:
        """Everything that is there now."""
        self.script.turn()
        found = b""
        while len(found) < limit:
            data = self.read(min(65536, limit - len(found)))
            if data is None:
                return found
            if not data:
                self.ended = True
                return found
            found += data
            self.script.turn()
        return found

    def is_closed(self) -> bool:
        """The engine closed its side: FIN or RST, and nothing unread before it."""
        self.script.turn()
        try:
            return self.read(1) == b""
        except ConnectionResetError:
            return True

    def was_reset(self) -> bool:
        self.script.turn()
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            return True
        except BlockingIOError:
            pass
        return False

    def finish(self) -> None:
        """Send FIN, keep reading."""
        self.sock.shutdown(socket.SHUT_WR)
        self.script.turn()

    def close(self) -> None:
        self.sock.close()
        self.script.turn()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        self.script.turn()


class Script:
    def __init__(self, limits: dict[str, Any], upstream: dict[str, Any], endpoints: int) -> None:
        usage_request = upstream.pop("usage_request", "nothing")
        slots = upstream.pop("ring_slots", 4096)
        self.folder = tempfile.TemporaryDirectory(prefix="zp-")
        self.peers: list[Peer] = []
        self.sources = [self._listen(f"up{k}", backlog=64) for k in range(endpoints)]
        self.engine = Engine(limits=replace(LIMITS, **limits), ring_slots=slots)
        words = {key: upstream.pop(key) for key in POOL.__struct_fields__ if key in upstream}
        pool = replace(POOL, **words)
        each = [
            EndpointSettings(
                url=f"http://up{k}", sockaddr=self._sockaddr(s), authority=b"up%d.test" % k,
                pool=pool,
            )
            for k, s in enumerate(self.sources)
        ]  # fmt: skip
        names = upstream.pop("upstreams", ["vllm"])
        for k, name in enumerate(names):
            # One endpoint each; a single upstream has all.
            mine = each if len(names) == 1 else each[k : k + 1]
            self.add_upstream(name, mine, settings(**upstream))
        for k in range(endpoints):
            self.engine.set_endpoint(k, usage_request=usage_request)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.engine.listen(self.listener.fileno())

    def add_upstream(
        self, name: str, endpoints: list[EndpointSettings], settings: UpstreamSettings
    ) -> None:
        self.engine.add_upstream(name, settings=settings, endpoints=endpoints)

    def _listen(self, name: str, backlog: int) -> socket.socket:
        source = socket.socket(socket.AF_UNIX)
        source.bind(str(Path(self.folder.name) / name))
        source.listen(backlog)
        source.setblocking(False)
        return source

    @staticmethod
    def _sockaddr(source: socket.socket) -> bytes:
        path = source.getsockname().encode()
        return struct.pack("=H", socket.AF_UNIX) + path + b"\0"

    def turn(self) -> None:
        """Crank until the engine has nothing to do."""
        for _ in range(64):
            more = self.engine.on_ready()
            if not more and not select.select([self.engine.fileno()], [], [], 0)[0]:
                return
        raise AssertionError("the engine never comes to rest")

    def wait(self, seconds: float = 5.0) -> None:
        """Run until a deadline inside the engine has shown: to a peer, a source or a counter. The
        timer also runs where a deadline has moved meanwhile; that alone does not count."""
        until, before = time.monotonic() + seconds, self._shown()
        while self._shown() == before:
            left = max(until - time.monotonic(), 0)
            if not select.select([self.engine.fileno()], [], [], left)[0]:
                raise AssertionError(f"nothing became due within {seconds} s")
            self.turn()

    def _shown(self) -> tuple[Any, ...]:
        socks = [peer.sock for peer in self.peers if peer.sock.fileno() >= 0]
        poll = select.poll()
        for sock in (*socks, *self.sources):
            poll.register(sock, select.POLLIN | select.POLLRDHUP)
        unread = [fcntl.ioctl(sock, termios.FIONREAD, bytes(4)) for sock in socks]
        found = self.engine.snapshot()
        connects = [e["connects"] for u in found["upstreams"] for e in u["endpoints"]]
        return unread, sorted(poll.poll(0)), found["counters"], connects

    def downstream(self) -> Peer:
        sock = socket.create_connection(self.listener.getsockname())
        # Nagle would hold a piece back until the one before it was acknowledged.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Peer(self, sock)
        self.peers.append(peer)
        self.turn()
        return peer

    def upstream(self, endpoint: int = 0) -> Peer:
        """Accept the next connection the engine opened."""
        self.turn()
        sock, _ = self.sources[endpoint].accept()
        peer = Peer(self, sock)
        self.peers.append(peer)
        self.turn()
        return peer

    def has_connected(self, endpoint: int = 0) -> bool:
        self.turn()
        return bool(select.select([self.sources[endpoint]], [], [], 0)[0])

    def refuse(self, endpoint: int = 0) -> None:
        """From now on the endpoint refuses connections."""
        Path(self.sources[endpoint].getsockname()).unlink()

    def accept_again(self, endpoint: int = 0) -> None:
        """It accepts connections again, as a server that was started anew."""
        self.sources[endpoint].close()
        self.sources[endpoint] = self._listen(f"up{endpoint}", backlog=64)

    def records(self) -> list[dict[str, Any]]:
        self.turn()
        return self.engine.records(1000)

    def outcome(self) -> str:
        """The outcome of the one exchange that has ended."""
        (record,) = self.records()
        return str(record["outcome"])

    def counters(self) -> dict[str, int]:
        return dict(self.engine.snapshot()["counters"])

    def close(self) -> None:
        for peer in self.peers:
            peer.sock.close()
        self.engine.on_ready()
        self.engine.close()
        for source in (*self.sources, self.listener):
            source.close()
        self.folder.cleanup()

    def demand_zero(self) -> None:
        left = self.counters()
        for name in ("relays", "upstream_conns", "permits", "block_bytes", "watches", "timers"):
            assert left[name] == 0, f"{name} not given back: {left}"
        assert left["bugs"] == 0, "a move that is not in the exchange table was asked for"


#: The maker of a Script for `play`; test_tls_again.py puts one in its place that speaks TLS.
MAKE: list[Callable[..., Script]] = [Script]


@contextmanager
def play(
    *, limits: dict[str, Any] | None = None, endpoints: int = 1, **upstream: Any
) -> Iterator[Script]:
    """A Script; at the end everything must have been given back."""
    script = MAKE[-1](limits or {}, upstream, endpoints)
    try:
        yield script
    finally:
        script.close()
    script.demand_zero()


def post(path: bytes = b"/v1/chat/completions", body: bytes = b"{}", extra: bytes = b"") -> bytes:
    head = b"POST %s HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n%s\r\n"
    return head % (path, len(body), extra) + body


def get(path: bytes = b"/v1/models", extra: bytes = b"") -> bytes:
    return b"GET %s HTTP/1.1\r\nHost: a.test\r\n%s\r\n" % (path, extra)


def ok(body: bytes = b"ok", extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n" % (len(body), extra) + body


#: The field of a caller that waits for 100 Continue: such a body is passed on as it comes.
EXPECT = b"Expect: 100-continue\r\n"

SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(text: bytes = b'{"choices":[{"index":0,"delta":{"content":"x"}}]}') -> bytes:
    return b"data: " + text + b"\n\n"


def split_head(data: bytes) -> tuple[bytes, bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", body


def change(script: Script, **keys: Any) -> None:
    """Reload the first upstream with other settings."""
    script.engine.set_upstream(0, settings=settings(**keys))
    script.turn()


def carry(sender: Peer, data: bytes, receiver: Peer) -> bytes:
    """Send all of `data` while the other end reads; what that has read."""
    sent, found = 0, b""
    while sent < len(data) or not sender.push():
        sent += sender.send_some(data[sent:])
        found += receiver.receive()
    return found + receiver.receive()


def upload(sender: Peer, request: bytes) -> tuple[Peer, bytes]:
    """A request sent whole: the new upstream conn it went to, and what came there."""
    sent = sender.send_some(request)
    receiver = sender.script.upstream()
    return receiver, carry(sender, request[sent:], receiver)
