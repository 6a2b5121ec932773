"""Scripts in which an engine falls silent, and comments keep its caller."""

from __future__ import annotations

import select
import time

from tests.support.editing import json_post
from tests.support.script import Peer, Script, chunk

COMMENT = b": keep-alive\n\n"
CHUNK = chunk(COMMENT)
ASK = json_post()
DONE = chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def until(script: Script, peer: Peer, wanted: bytes = CHUNK) -> bytes:
    """All that has come to `peer` once that ends with `wanted`."""
    found = peer.receive()
    while not found.endswith(wanted):
        # Loopback may deliver late on a busy machine: both descriptors are looked at.
        ready = select.select([script.engine.fileno(), peer.sock], [], [], 30)[0]
        assert ready, f"nothing more came after {found[-200:]!r}"
        found += peer.receive()
    return found


def got(peer: Peer) -> bytes:
    """Bytes that have come, but for comments: on a busy machine there are more of them."""
    return peer.receive().replace(CHUNK, b"")


def pause(script: Script, seconds: float = 0.1) -> None:
    """Time in which a comment would have come; nothing else happens."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.02)
        script.turn()


def comments(script: Script) -> dict[str, int]:
    return dict(script.engine.snapshot()["keepalive"])
