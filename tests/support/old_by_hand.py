"""The old side of a handover, played by hand, in a process that can be killed at a step.

    python -m tests.support.old_by_hand PATH STEP PORT

It listens on the unix socket PATH and on PORT, answers one new process, and at STEP does the worst.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from tests.support.upgrades import get, put


def listener(address: str | tuple[str, int]) -> socket.socket:
    if isinstance(address, tuple):
        return socket.create_server(address, backlog=4096)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(address)
    sock.listen()
    return sock


def offer_of(path: str, port: int) -> dict[str, Any]:
    status = Path(path).stat()
    rows = [
        {"address": f"127.0.0.1:{port}", "url": f"http://127.0.0.1:{port}"},
        {"address": f"unix:{path}", "url": f"unix:{path}", "path": path,
         "inode": [status.st_dev, status.st_ino]},
    ]  # fmt: skip
    return {"kind": "offer", "version": "test", "pid": os.getpid(), "folder": str(Path.cwd()),
            "is_ready": True, "listeners": rows}  # fmt: skip


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def answer(step: str, new: socket.socket, fds: list[int], offer: dict[str, Any]) -> None:
    """`step`: what has happened when it does the worst."""
    assert get(new)["kind"] == "hello"
    if step == "hello":
        die()
    if step == "garbage":
        return new.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    if step == "huge":
        return new.sendall(b"zpho\x7f\xff\xff\xff")
    if step == "nonsense":
        return put(new, {**offer, "listeners": 3}, [*fds, 1, 2])
    if step == "few":
        return put(new, offer, fds[:1])
    if step == "deaf":  # a descriptor that listens to nobody
        return put(new, offer, [1, *fds[1:], 1, 2])
    if step == "lost":
        return put(new, {**offer, "folder": "/nowhere"}, [*fds, 1, 2])
    put(new, offer, [*fds, 1, 2])
    if step == "offer":
        die()
    assert get(new)["kind"] == "go"
    if step == "go":
        die()
    if step == "back":  # it has changed its mind
        return put(new, {"kind": "refused", "reason": "the proxy is draining"})
    wrong = [{"upstream": "test", "url": "http://h:1", "limit": "many"}] if step == "odd" else []
    put(new, {"kind": "gone", "busy": 0, "learned": wrong, "quotas": [], "drained": []})
    if step == "gone":
        die()
    assert get(new)["kind"] == "serving"
    if step == "serving":
        die()
    put(new, {"kind": "bye"})
    return None


def main() -> None:
    path, step, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with listener(("127.0.0.1", port)) as data, listener(path) as handover:
        print("ready", flush=True)
        new, _ = handover.accept()
        with new:
            answer(step, new, [data.fileno(), handover.fileno()], offer_of(path, port))
        sys.stdin.read()  # it lives on


if __name__ == "__main__":
    main()
