"""Upgrades of a real proxy process, and the other end of a handover, played by hand."""

from __future__ import annotations

import array
import contextlib
import http.client
import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.proxy_process import ProxyProcess
from tests.support.until import wait_until

UPGRADE = (sys.executable, "-m", "zeroproxy", "upgrade", "-c")
HELLO = {"kind": "hello", "protocol": 1, "version": "test", "pid": 1}


def upgrade(path: Path, *options: str) -> subprocess.Popen[str]:
    """`zeroproxy upgrade`, begun."""
    return subprocess.Popen(
        [*UPGRADE, str(path), *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


class Generations:
    """A proxy and those that come after it: `next` is an upgrade, waited for. Each has to end with
    status 0, which `end` demands."""

    def __init__(self, proxy: ProxyProcess) -> None:
        assert proxy.process is not None
        self._path = proxy.path
        self._all: list[subprocess.Popen[Any]] = [proxy.process]

    @property
    def pid(self) -> int:
        """Of the one that serves."""
        return self._all[-1].pid

    def next(self) -> str:
        """Returns the sentence of the upgrade."""
        errors = self._path.with_name("upgrades.stderr")
        with errors.open("a") as stderr:
            new = subprocess.Popen(
                [*UPGRADE, str(self._path), "--foreground"],
                stdout=subprocess.PIPE, stderr=stderr, text=True,
            )  # fmt: skip
        self._all.append(new)
        assert new.stdout is not None
        with new.stdout:
            sentence = new.stdout.readline()
        assert " serves; process " in sentence, errors.read_text()
        return sentence

    def end(self) -> None:
        self._all[-1].terminate()
        assert [one.wait(100) for one in self._all] == [0] * len(self._all)

    def __enter__(self) -> Generations:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            return self.end()
        for one in self._all[1:]:
            one.kill()
            one.wait()
        return None


class Callers:
    """Threads that ask without a pause until `stop`; `failures` names whatever went wrong."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.answered = 0
        self.failures: list[str] = []
        self._threads: list[threading.Thread] = []

    def add(self, n: int, body: bytes, *, ends: bytes, keeps: bool = False) -> None:
        """`n` that demand 200 and an answer that ends so. Each request has a conn of its own;
        with `keeps` it has one that the proxy keeps."""
        for _ in range(n):
            thread = threading.Thread(target=self._run, args=(body, ends, keeps), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, body: bytes, ends: bytes, keeps: bool) -> None:
        conn: http.client.HTTPConnection | None = None
        while not self._stop.is_set():
            is_new = conn is None
            conn = conn or http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            try:
                conn.request("POST", "/v1/chat/completions", body)
                response = conn.getresponse()
                data = response.read()
            except http.client.RemoteDisconnected as error:
                # A kept conn may end, unanswered, while a request is on its way: ask again.
                if is_new:
                    self._fail(repr(error))
                conn = None
                continue
            except (OSError, http.client.HTTPException) as error:
                self._fail(repr(error))
                conn = None
                continue
            if response.status != 200 or not data.endswith(ends):
                self._fail(f"{response.status} {data[-200:]!r}")
            with self._lock:
                self.answered += 1
            if response.will_close or not keeps:
                conn.close()
                conn = None
        if conn is not None:
            conn.close()

    def _fail(self, what: str) -> None:
        with self._lock:
            self.failures.append(what)

    def await_answers(self, n: int) -> None:
        wait_until(lambda: self.answered >= n)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(100)


@contextlib.contextmanager
def asked(port: int, path: str, body: bytes = b"", **headers: str) -> Iterator[Any]:
    """The response to a POST, to be read."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        conn.request("POST", path, body, headers)
        with conn.getresponse() as response:
            yield response
    finally:
        conn.close()


# ---------------------------------------------------------------- one end, by hand


def put(sock: socket.socket, message: dict[str, Any], fds: list[int] | None = None) -> None:
    data = json.dumps(message).encode()
    control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([struct.pack("!4sI", b"zpho", len(data)) + data], control)


def get(sock: socket.socket) -> dict[str, Any]:
    """The next message; {}: the other end has closed. Its descriptors are dropped."""
    head = read(sock, 8)
    if not head:
        return {}
    mark, size = struct.unpack("!4sI", head)
    assert mark == b"zpho"
    return dict(json.loads(read(sock, size)))


def read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (some := sock.recv(size - len(data))):
        data += some
    return data


def dial(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(60)
    sock.connect(path)
    return sock
