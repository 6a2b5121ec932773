"""Peers that cost as much as they can: crowds of raw connections, endpoints that flood or dribble,
and the neighbour that must not notice."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: Bytes one exchange may hold, from ARCHITECTURE.md: its structs, and blocks while bytes wait.
STRUCTS = 2048
SMALL, MEDIUM, LARGE = 2048, 16384, 67584
#: Free blocks the pool keeps (about 1 MiB), the watch table, and what Python allocates by itself.
STEADY = 12 << 20


def raise_nofile(wanted: int) -> int:
    """Raise the soft limit for this process and those it starts; returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Memory:
    """The largest rise of a process's resident memory since this was made."""

    def __init__(self, pid: int) -> None:
        self.folder = Path(f"/proc/{pid}")
        with contextlib.suppress(OSError):
            (self.folder / "clear_refs").write_text("5")  # the peak begins anew
        self.before = self._read("VmRSS")

    def _read(self, name: str) -> int:
        for line in (self.folder / "status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {name}")

    def risen(self) -> int:
        return self._read("VmHWM") - self.before


class Crowd:
    """Raw connections to the proxy; closed at the end."""

    def __init__(self, port: int, size: int, say: bytes = b"", receives: int = 0) -> None:
        self.socks: list[socket.socket] = []
        for _ in range(size):
            sock = socket.socket()
            if receives:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
            sock.connect(("127.0.0.1", port))
            self.socks.append(sock)
            if say:
                with contextlib.suppress(ConnectionError):
                    sock.sendall(say)

    def read_to_end(self, seconds: float = 90.0) -> list[bytes]:
        """The bytes each received until its connection ended."""
        found = dict.fromkeys(self.socks, b"")
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as chosen:
            for sock in self.socks:
                chosen.register(sock, selectors.EVENT_READ)
            while chosen.get_map():
                assert time.monotonic() < deadline, "some connections never end"
                for key, _ in chosen.select(1.0):
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    data = b""
                    with contextlib.suppress(ConnectionError):
                        data = sock.recv(65536)
                    found[sock] += data
                    if not data:
                        chosen.unregister(sock)
        return list(found.values())

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self.socks:
            sock.close()


def chat(tokens: int) -> bytes:
    body = {"model": "sim-1", "max_tokens": tokens, "stream": True,
            "messages": [{"role": "user", "content": "x"}]}  # fmt: skip
    return json.dumps(body).encode()


class Neighbour:
    """Caller that streams all the while, on a connection of its own, and misses nothing."""

    def __init__(self, port: int, tokens: int = 20) -> None:
        self.conn = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.tokens, self.answers = tokens, 0
        self.gaps: list[float] = []  # between events, seconds
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def ask(self) -> None:
        kind = {"Content-Type": "application/json"}
        self.conn.request("POST", "/v1/chat/completions", chat(self.tokens), kind)
        response = self.conn.getresponse()
        assert response.status == 200, response.read()
        events, last = 0, time.monotonic()
        body = b""
        while line := response.readline():
            body += line
            if line.startswith(b"data: "):
                now = time.monotonic()
                self.gaps.append(now - last)
                events, last = events + 1, now
        assert body.endswith(b"data: [DONE]\n\n"), body[:1000]
        assert body.count(b'"content":') >= self.tokens, body
        self.answers += 1

    def _run(self) -> None:
        try:
            while not self._stop.is_set() or not self.answers:
                self.ask()
        except BaseException as error:
            self.error = error

    def __enter__(self) -> Neighbour:
        try:
            self.ask()
        except BaseException:
            self.conn.close()
            raise
        self.gaps.clear()
        self.answers = 0
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        self.conn.close()
        if self.error is not None:
            raise self.error
        assert self.answers


@contextmanager
def raw_endpoint(answer: Callable[[socket.socket], None], sends: int = 0) -> Iterator[str]:
    """An endpoint with a thread per connection: reads a head, then `answer`. Yields its URL."""
    listener = socket.socket()
    if sends:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sends)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    taken: list[socket.socket] = []

    def serve(sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            if sock.recv(65536):
                answer(sock)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                taken.append(sock)
                threading.Thread(target=serve, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for sock in taken:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
