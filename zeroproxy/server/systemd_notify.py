"""The state of a worker for systemd, Type=notify: sd_notify(3), by datagrams of our own.

Law 1. WATCHDOG=1 is sent only if the thread of the data plane has worked since the last one
       (`Engine.beat`), and by the loop. So a process of which either hangs is restarted.
Law 2. Nothing waits for systemd: a datagram that it does not take is lost.
Law 3. READY=1 is sent once, when /readyz is 200 for the first time, or after READY_PATIENCE. An
       engine that is down must not keep the proxy from its own start.
Tests: tests/unit/test_systemd_notify.py, tests/e2e/test_systemd.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
import time
from collections.abc import Mapping
from typing import Any, Protocol

from zeroproxy.tasks import cancel

log = logging.getLogger(__name__)

READY_PATIENCE = 120.0  # seconds; the default of upstream.warmup.timeout
STARTING = 0.25  # seconds between two looks before READY=1
RUNNING = 5.0  # the same afterwards, unless the watchdog needs more
#: systemd waits for so long from each EXTEND_TIMEOUT_USEC on: three looks.
EXTENSION = 3 * RUNNING
MEMBERS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Watched(Protocol):
    """The part of a worker that systemd hears about."""

    phase: str
    engine: Any

    def ready(self) -> tuple[bool, list[str]]: ...


class Notifier:
    """Sends states to the socket that systemd listens on. `watchdog`: seconds; 0: none."""

    def __init__(self, address: str, watchdog: float = 0.0) -> None:
        self.watchdog = watchdog
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._sock.setblocking(False)

    def send(self, *lines: str) -> None:
        with contextlib.suppress(OSError):
            self._sock.sendto("\n".join(lines).encode(), self._address)

    def close(self) -> None:
        self._sock.close()


def watchdog_of(environ: Mapping[str, str], pid: int) -> float:
    """Seconds within which systemd expects a sign of life; 0: it expects none of this process."""
    usec = environ.get("WATCHDOG_USEC", "0")
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return 0.0
    if not re.fullmatch(r"[0-9]{1,15}", usec):
        log.warning(f"WATCHDOG_USEC is {usec!r}, not a number: no sign of life is sent")
        return 0.0
    return int(usec) / 1e6


def notifier_of(environ: Mapping[str, str], pid: int) -> Notifier | None:
    """None: nobody wants to be notified."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return None
    if address[0] not in "/@" or len(address) < 2 or len(address.encode()) > 107:
        log.warning(f"NOTIFY_SOCKET is {address!r}, no path and no abstract name: it is left alone")
        return None
    return Notifier(address, watchdog_of(environ, pid))


def of_this_process() -> Notifier | None:
    """That of the environment, which children do not inherit."""
    found = notifier_of(os.environ, os.getpid())
    for name in MEMBERS:
        os.environ.pop(name, None)
    return found


class Service:
    """One worker, as systemd sees it. `start` and `stop` belong to one loop."""

    def __init__(self, worker: Watched, notifier: Notifier) -> None:
        self._worker, self._notifier = worker, notifier
        self._is_ready = False
        self._is_stopping = False
        self._beats = -1
        self._status = ""
        self._give_up = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._give_up = time.monotonic() + READY_PATIENCE
        self._task = asyncio.create_task(self._run())

    def on_reload(self, begins: bool) -> None:
        """A reload begins, or has ended."""
        if not self._is_ready or self._is_stopping:
            return
        if begins:
            self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        else:
            self._notifier.send("READY=1")

    def stopping(self) -> None:
        """The drain begins; from now on systemd is asked for more time."""
        self._is_stopping = True
        self._notifier.send("STOPPING=1", *self._extension())
        self._look()

    async def stop(self) -> None:
        await cancel(self._task)
        self._task = None
        self._notifier.close()

    @staticmethod
    def _extension() -> tuple[str, ...]:
        return (f"EXTEND_TIMEOUT_USEC={int(EXTENSION * 1e6)}",)

    def _pause(self) -> float:
        pause = RUNNING if self._is_ready or self._is_stopping else STARTING
        # Half of it: one look may come late.
        return min(pause, self._notifier.watchdog / 2) if self._notifier.watchdog else pause

    async def _run(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(self._pause())

    def _look(self) -> None:
        """Send what has changed, and what is due."""
        lines = []
        if self._is_alive():
            lines += ["WATCHDOG=1"] if self._notifier.watchdog else []
            lines += self._states()
        if lines:
            self._notifier.send(*lines)

    def _is_alive(self) -> bool:
        """True if the data plane has worked since the last look. One that is closed need not."""
        before, self._beats = self._beats, self._worker.engine.beat()
        return self._beats < 0 or self._beats != before

    def _states(self) -> list[str]:
        found: list[str] = []
        if self._is_stopping:
            found += self._extension()
        elif not self._is_ready:
            is_ready, reasons = self._worker.ready()
            if is_ready or time.monotonic() >= self._give_up:
                self._is_ready = True
                found += ["READY=1", f"MAINPID={os.getpid()}"]  # another one after an upgrade
            else:
                found += self._extension()
                return [*found, *self._changed(f"waiting: {'; '.join(reasons)}")]
        return [*found, *self._changed(self._summary())]

    def _summary(self) -> str:
        phase = self._worker.phase
        inflight = sum(one["inflight"] for one in self._worker.engine.health_sample())
        is_ready, reasons = self._worker.ready()
        trouble = "" if is_ready or phase != "serving" else f"; not ready: {'; '.join(reasons)}"
        return f"{phase}: {inflight} requests in flight{trouble}"

    def _changed(self, status: str) -> list[str]:
        status = " ".join(status.split())
        if status == self._status:
            return []
        self._status = status
        return [f"STATUS={status}"]
