"""Further listeners of a wire script, with callers from any address of loopback."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.script import Peer, Script


class Listening:
    """One more listener. Its callers' conns are closed with the script."""

    def __init__(self, script: Script, sock: socket.socket, **keys: Any) -> None:
        self.script, self.sock = script, sock
        sock.setblocking(False)
        is_unix = sock.family == socket.AF_UNIX
        script.engine.listen(sock.fileno(), is_unix=is_unix, **keys)

    def connect(self, source: str = "") -> Peer:
        """A caller, from this address of loopback."""
        name = self.sock.getsockname()
        if self.sock.family == socket.AF_UNIX:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(name)
        else:
            is_v6 = ":" in source or (not source and name[0] == "::1")
            host = "::1" if is_v6 else "127.0.0.1"
            sock = socket.create_connection(
                (host, name[1]), source_address=(source, 0) if source else None
            )
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Peer(self.script, sock)
        self.script.peers.append(peer)
        self.script.turn()
        return peer


def tcp() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def both_families() -> socket.socket:
    """IPv4 callers come to it with mapped addresses."""
    return socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)


@contextmanager
def unix() -> Iterator[socket.socket]:
    with tempfile.TemporaryDirectory(prefix="zp-") as folder:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(Path(folder) / "s"))
        sock.listen(16)
        yield sock
