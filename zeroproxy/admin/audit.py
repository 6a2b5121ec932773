"""The audit file: one JSON line for each request to the admin port that could change something.

Law 1. A request never waits for the file: a thread writes, behind a bounded queue. Lines that do
       not fit, or cannot be written, are dropped and counted.
Law 2. Strangers cannot fill the disk: of requests that were refused, few are written.
Law 3. The file is opened for each line, with mode 0600 if it is made. So it may be renamed.
Tests: tests/unit/test_audit.py.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

from zeroproxy.errors import ZeroproxyError
from zeroproxy.metering.access_log_file import open_sink

log = logging.getLogger(__name__)

QUEUE_MAX = 1024  # lines
CLOSE_PATIENCE = 1.0  # seconds that the last lines get
SHOWN = 1024  # characters of a path, a query or a message
ANSWER_MAX = 4096  # bytes of an answer that is written
#: Statuses of requests that nobody was let in for, or that nothing stands behind.
REFUSED = (401, 403, 404, 405, 421)
#: Lines of refused requests: at once, and a second.
REFUSED_BURST, REFUSED_RATE = 100, 1.0
CALLER_LEFT = 499


def peer_of(request: web.Request) -> str:
    """The caller's address and port; of a unix socket its user and process."""
    transport = request.transport
    if transport is None:
        return ""
    name = transport.get_extra_info("peername")
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    sock = transport.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, uid, _ = struct.unpack("3i", raw)
        return f"unix:uid={uid},pid={pid}"
    return "unix"


def result_of(response: web.StreamResponse) -> dict[str, Any]:
    """The answer: a message of an error, else the object itself unless it is large."""
    body = response.body if isinstance(response, web.Response) else None
    if not isinstance(body, bytes) or len(body) > ANSWER_MAX:
        return {}
    with contextlib.suppress(orjson.JSONDecodeError):
        answer = orjson.loads(body)
        if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
            return {"message": str(answer["error"].get("message", ""))[:SHOWN]}
        return {"answer": answer}
    return {}


class Audit:
    """`spec` gives admin.audit as it is in force; "": nothing is written. `note` is for the loop,
    `close` for any thread."""

    def __init__(self, spec: Callable[[], str]) -> None:
        self._spec = spec
        self._queue: queue.Queue[tuple[str, bytes] | None] = queue.Queue(QUEUE_MAX)
        self._thread: threading.Thread | None = None
        self._credit, self._credited = float(REFUSED_BURST), time.monotonic()
        self._written, self._dropped, self._failing = 0, 0, ""

    def state(self) -> dict[str, Any]:
        return {"written": self._written, "dropped": self._dropped, "failing": self._failing}

    def note(self, request: web.Request, peer: str, by_token: bool, status: int,
             result: dict[str, Any]) -> None:  # fmt: skip
        """Write what a request has done."""
        spec = self._spec()
        if not spec:
            return
        if status in REFUSED and not self._may_note_refused():
            self._dropped += 1
            return
        line = {
            "time": datetime.now(UTC).isoformat(), "peer": peer, "token": by_token,
            "method": request.method, "path": request.path[:SHOWN],
            "query": request.query_string[:SHOWN], "status": status, **result,
        }  # fmt: skip
        try:
            self._queue.put_nowait((spec, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)))
        except queue.Full:
            self._dropped += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="zeroproxy-audit", daemon=True)
            self._thread.start()

    def _may_note_refused(self) -> bool:
        now = time.monotonic()
        self._credit = min(REFUSED_BURST, self._credit + (now - self._credited) * REFUSED_RATE)
        self._credited = now
        if self._credit < 1:
            return False
        self._credit -= 1
        return True

    def _run(self) -> None:
        while (one := self._queue.get()) is not None:
            self._write(*one)

    def _write(self, spec: str, line: bytes) -> None:
        try:
            file = open_sink(spec, "admin.audit")
            try:
                file.write(line)
            finally:
                file.close()
        except (ZeroproxyError, OSError) as error:
            self._dropped += 1
            if not self._failing:
                log.error(f"the audit file fails: {error}")
            self._failing = str(error)
            return
        if self._failing:
            log.info("the audit file works again")
        self._failing = ""
        self._written += 1

    def close(self) -> None:
        """The last lines, for CLOSE_PATIENCE at most."""
        if self._thread is None:
            return
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=CLOSE_PATIENCE)
        self._thread.join(CLOSE_PATIENCE)
        self._thread = None
