"""Surfaces for wire scripts, as Engine.set_surfaces takes them."""

from __future__ import annotations

import json
from typing import Any

from tests.support.script import Script, ok
from zeroproxy._fast.engine.settings_types import SurfaceSettings
from zeroproxy.config.surface import Surface
from zeroproxy.server.stage_surfaces import settings_of


def surface(*paths: str, strip=(), keep=(), refuse=()) -> SurfaceSettings:
    """Without a path: every path passes."""
    return settings_of(
        Surface(
            paths=paths or "all", strip_headers=strip, keep_headers=keep, refuse_fields=refuse
        )
    )  # fmt: skip


#: The default of a configuration.
INFERENCE = settings_of(Surface())


def ask(script: Script, request: bytes) -> tuple[bytes, bytes | None]:
    """(answer, the bytes that the endpoint got; None: none)."""
    d = script.downstream()
    d.send(request)
    if not script.has_connected():
        got = d.receive()
        d.close()
        return got, None
    u = script.upstream()
    got = u.receive()
    u.send(ok(extra=b"Connection: close\r\n"))
    answer = d.receive()
    d.close()
    u.close()
    return answer, got


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def error(answer: bytes) -> dict[str, Any]:
    return dict(json.loads(answer.partition(b"\r\n\r\n")[2]))
