"""A TCP relay in front of a real server. It records the bytes it passes on. It can hold an answer
back behind an event, so that a test knows to the token what the other side has seen.

    with Tap(url) as tap:
        tap.hold_behind = 5     # events, of answers that begin from now on; None: pass everything
        ... ask through tap.url ...
        tap.answers["my-request-id"].events()
"""

from __future__ import annotations

import json
import re
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

READ = 65536
EDGE = re.compile(rb"\n\n(\r\n)?")  # the end of an event, with that of its HTTP chunk
REQUEST_ID = re.compile(rb"\r\nx-request-id: *([^\r]+)", re.I)
CHUNK = re.compile(rb"([0-9a-fA-F]+)\r\n")


def payloads(body: bytes) -> list[dict[str, Any]]:
    """The JSON objects of an SSE body."""
    lines = [line for line in body.split(b"\n") if line.startswith(b"data: {")]
    return [json.loads(line[6:]) for line in lines]


def unframed(answer: bytes) -> bytes:
    """The body of a chunked answer, as far as it goes."""
    at, body = answer.find(b"\r\n\r\n") + 4, b""
    while head := CHUNK.match(answer, at):
        end = head.end() + int(head[1], 16)
        body += answer[head.end() : end]
        at = end + 2
    return body


class Answer:
    """The bytes that were passed on to the caller."""

    def __init__(self, request: bytes, hold_behind: int | None) -> None:
        self.request = request
        self.passed = b""
        self._hold_behind = hold_behind

    def allowed(self, data: bytes) -> bytes:
        """As much of `data` as lies before the edge behind which the rest is held back."""
        if self._hold_behind is None:
            return data
        edges = [m.end() for m in EDGE.finditer(self.passed + data)]
        if len(edges) < self._hold_behind:
            return data
        return data[: max(edges[self._hold_behind - 1] - len(self.passed), 0)]

    def body(self) -> bytes:
        return unframed(self.passed)

    def events(self) -> list[dict[str, Any]]:
        return payloads(self.body())


class Tap:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._socks: list[socket.socket] = [self._listener]
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.answers: dict[str, Answer] = {}
        self.hold_behind: int | None = None

    def _spawn(self, run: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._socks += [near, far]
                running: list[Answer] = []
                self._spawn(self._requests, near, far, running)
                self._spawn(self._responses, near, far, running)

    def _requests(self, near: socket.socket, far: socket.socket, running: list[Answer]) -> None:
        with suppress(OSError):
            while data := near.recv(READ):
                if data.startswith(b"POST ") and (found := REQUEST_ID.search(data)):
                    answer = Answer(data, self.hold_behind)
                    running[:] = [self.answers.setdefault(found[1].decode(), answer)]
                elif running:
                    running[0].request += data
                far.sendall(data)
        end(near, far)

    def _responses(self, near: socket.socket, far: socket.socket, running: list[Answer]) -> None:
        with suppress(OSError):
            while data := far.recv(READ):
                if running:
                    data = running[0].allowed(data)
                    running[0].passed += data
                near.sendall(data)
        end(near, far)

    def __enter__(self) -> Tap:
        self._spawn(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        end(*self._socks)
        for thread in self._threads:
            thread.join(10)


def end(*socks: socket.socket) -> None:
    """Close for both sides; a call that waits ends too."""
    for sock in socks:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()
