"""Wire scripts through TLS: the same verbs, over a Python SSLObject and the same raw socket."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from tests.support.certificates import certificates
from tests.support.script import Peer, Script, ok, post
from zeroproxy._fast.engine.settings_types import EndpointSettings, UpstreamSettings
from zeroproxy._fast.engine.tls_context import Context

PIECE = 16384


class TlsPeer(Peer):
    """A conn on both levels: `obj` speaks TLS, `sock` is the wire."""

    ended = False

    def __init__(
        self, script: Script, sock: socket.socket, context: ssl.SSLContext, is_server: bool
    ) -> None:
        super().__init__(script, sock)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.obj = context.wrap_bio(self._in, self._out, is_server, None if is_server else "a.test")
        self._left = b""  # records the socket has not taken yet
        self.clean_end = False

    # ------------------------------------------------------------ the wire

    def push(self) -> bool:
        """Send the records that wait; whether none is left."""
        self._left += self._out.read()
        try:
            while self._left:
                self._left = self._left[self.sock.send(self._left) :]
        except BlockingIOError:
            return False
        return True

    def push_all(self) -> None:
        while not self.push():
            self.script.turn()
            if not select.select([], [self.sock], [], 5)[1]:
                raise AssertionError("the engine does not read")

    def pull(self) -> None:
        """Take what the wire has."""
        try:
            while data := self.sock.recv(1 << 16):
                self._in.write(data)
        except BlockingIOError:
            return
        self._in.write_eof()

    def shake(self) -> None:
        """Until the handshake is over; raises ssl.SSLError, also if the engine breaks it off."""
        for _ in range(64):
            self.script.turn()
            self.pull()
            try:
                self.obj.do_handshake()
            except ssl.SSLWantReadError:
                self.push_all()
                continue
            self.push_all()
            self.script.turn()
            return
        raise AssertionError("the handshake never ends")

    def read(self, n: int) -> bytes | None:
        """None: nothing there; b"": the end, clean or not."""
        self.pull()
        try:
            found = self.obj.read(n)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            found = b""
        except ssl.SSLEOFError:
            return b""
        self.clean_end = found == b""
        return found

    # ------------------------------------------------------------ the verbs

    def put(self, data: bytes) -> int:
        sent = self.obj.write(data)
        self.push()
        return sent

    def send(self, data: bytes) -> None:
        for at in range(0, len(data), PIECE):
            self.obj.write(data[at : at + PIECE])
            self.push_all()
        self.script.turn()

    def send_some(self, data: bytes) -> int:
        sent = 0
        while sent < len(data) and self.push():
            sent += self.obj.write(data[sent : sent + PIECE])
        self.push()
        self.script.turn()
        return sent

    def say_end(self) -> None:
        """close_notify; session tickets are taken before, or closing over them sends a RST."""
        with contextlib.suppress(ConnectionError):
            self.pull()
            with contextlib.suppress(ssl.SSLError):
                self.obj.unwrap()
            self.push()

    def finish(self) -> None:
        self.say_end()
        super().finish()

    def close(self) -> None:
        self.say_end()
        super().close()

    def cut(self) -> None:
        """FIN without close_notify."""
        super().finish()


class TlsScript(Script):
    """Its listener speaks TLS where `server` is set, its endpoints where `client` is. `sides`:
    the contexts of the two peers, caller and endpoint."""

    def __init__(self, limits: Any, upstream: Any, endpoints: int, tls: dict[str, Any]) -> None:
        self.tls = tls
        self.made: list[tuple[int, bytes]] = []
        super().__init__(limits, upstream, endpoints)
        if "server" in tls:
            self.engine.set_tls(tls["server"])

    def add_upstream(
        self, name: str, endpoints: list[EndpointSettings], settings: UpstreamSettings
    ) -> None:
        k = self.engine.add_upstream(name, settings=settings)
        if "client" in self.tls:
            self.engine.set_tls(self.tls["client"], upstream=k)
            host = self.tls.get("host", b"a.test")
            endpoints = [
                replace(e, url=f"https://{e.authority.decode()}", tls_host=host) for e in endpoints
            ]
        for endpoint in endpoints:
            self.engine.add_endpoint(k, settings=endpoint)

    def downstream(self, shake: bool = True) -> Peer:
        peer = super().downstream()
        if "server" not in self.tls:
            return peer
        secure = TlsPeer(self, peer.sock, self.tls["caller"], is_server=False)
        self.peers.append(secure)
        if shake:
            secure.shake()
        return secure

    def upstream(self, endpoint: int = 0, shake: bool = True) -> Peer:
        peer = super().upstream(endpoint)
        if "client" not in self.tls:
            return peer
        secure = TlsPeer(self, peer.sock, self.tls["endpoint"], is_server=True)
        self.peers.append(secure)
        if shake:
            secure.shake()
        return secure

    def demand_zero(self) -> None:
        super().demand_zero()
        assert self.engine.snapshot()["tls"]["open"] == 0


def down(highest=None, **words):
    c = certificates()
    return {
        "server": Context.server(cert=c.server.cert, key=c.server.key, **words),
        "caller": c.authority.client(highest=highest),
    }


def up(pair=None, highest=None, **words):
    c = certificates()
    words.setdefault("ca", c.authority.ca)
    return {
        "client": Context.client(**words),
        "endpoint": (pair or c.server).server(highest=highest),
    }


@contextmanager
def play(tls, *, limits=None, endpoints=1, **upstream):
    script = TlsScript(limits or {}, upstream, endpoints, tls)
    try:
        yield script
    finally:
        script.close()
    script.demand_zero()


def exchange_over_tls(script, request=None, answer=None):
    d = script.downstream()
    d.send(request or post())
    u = script.upstream()
    found = u.receive()
    u.send(answer or ok())
    return found, d.receive()


def said(script):
    """The reason why the one endpoint was refused."""
    return script.engine.snapshot()["upstreams"][0]["endpoints"][0]["tls"]


def tls_counters(script):
    return script.engine.snapshot()["tls"]
