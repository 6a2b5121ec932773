"""Connections of the admin listener: how many, and how long each may take over a head.

Law 1. Connections without a request are at most MOST, each for HEAD_TIMEOUT at most. So a caller
       without a token takes no descriptors from the data plane, and keeps no probe out.
Law 2. Where all are taken, the connection that has waited longest without a request is closed. One
       whose request is being answered stays.
Tests: tests/unit/test_admin_access.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web

MOST = 64
HEAD_TIMEOUT = 10.0  # seconds from the connection, or the first byte of a further request
IDLE_TIMEOUT = 75.0  # seconds between two requests: more than scrapers pause
BACKLOG = 16  # that the kernel keeps; also what may be open for a moment beyond MOST


class Visit(asyncio.Protocol):
    """One connection: aiohttp's protocol, counted and timed."""

    def __init__(self, limit: ConnectionLimit, inner: Any) -> None:
        self._limit, self._inner = limit, inner
        self._timer: asyncio.TimerHandle | None = None
        self._is_between = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._inner.connection_made(transport)
        self._limit.enter(self)
        self.wait(HEAD_TIMEOUT)

    def data_received(self, data: bytes) -> None:
        if self._is_between:
            self.wait(HEAD_TIMEOUT)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return cast("bool | None", self._inner.eof_received())

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self.stop_waiting()
        self._limit.leave(self)
        self._inner.connection_lost(error)

    def wait(self, seconds: float, is_between: bool = False) -> None:
        """For the next head."""
        self.stop_waiting()
        self._is_between = is_between
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort)

    def stop_waiting(self) -> None:
        self._is_between = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def abort(self) -> None:
        self.stop_waiting()
        self._limit.leave(self)
        if self.transport is not None:
            self.transport.abort()


class ConnectionLimit:
    """Makes the protocol of each connection of a runner, `most` of them at once."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._visits: dict[int, Visit] = {}
        self._waiting: dict[int, Visit] = {}  # the oldest first

    def protocol(self, server: web.Server) -> Visit:
        return Visit(self, server())

    def enter(self, visit: Visit) -> None:
        if len(self._visits) >= self.most:
            # Where none waits, all are being answered: the new one is closed.
            oldest = next(iter(self._waiting.values()), visit)
            oldest.abort()
            if oldest is visit:
                return
        self._visits[id(visit.transport)] = self._waiting[id(visit.transport)] = visit

    def leave(self, visit: Visit) -> None:
        self._visits.pop(id(visit.transport), None)
        self._waiting.pop(id(visit.transport), None)

    @property
    def guard(self) -> Callable[..., Any]:
        """The middleware that knows when a head is there, and when its answer is."""

        @web.middleware
        async def answering(request: web.Request, handler: Any) -> web.StreamResponse:
            key = id(request.transport)
            visit = self._waiting.pop(key, None)
            if visit is not None:
                visit.stop_waiting()
            try:
                return cast(web.StreamResponse, await handler(request))
            finally:
                if visit is not None and self._visits.get(key) is visit:
                    self._waiting[key] = visit
                    visit.wait(IDLE_TIMEOUT, is_between=True)

        return answering
