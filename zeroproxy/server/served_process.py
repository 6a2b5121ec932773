"""An inference server that belongs to this proxy (`zeroproxy exec`): started behind the proxy's own
start, signalled, and ended behind its drain.

It is not started again: the proxy ends with it, once its streams have ended as cut ones do.
Tests: tests/e2e/test_exec.py, tests/e2e/test_exec_ends.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence

from zeroproxy.server.guard import PR_SET_CHILD_SUBREAPER, fork_guard, kill_below, set_process
from zeroproxy.tasks import cancel

log = logging.getLogger(__name__)

LOOK = 0.25  # seconds between two looks whether it serves
#: Seconds that the guard has to end after the server.
GUARD_PATIENCE = 10.0
#: The exit status where it could not be started.
NOT_STARTED = 1


def catches(pid: int, number: int) -> bool:
    """True if a process has a handler for a signal."""
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def described(status: int) -> str:
    """A status of waitpid, for people."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(number).name}"
        return f"was ended by signal {number}"
    return f"ended with status {os.waitstatus_to_exitcode(status)}"


class ServedProcess:
    """`fork` before the process has a second thread; the rest on the loop. `stop_timeout`: seconds
    that it has to end before it is killed."""

    def __init__(self, name: str, url: str, folder: str, stop_timeout: float) -> None:
        self.name, self.url, self.folder, self._stop_timeout = name, url, folder, stop_timeout
        self.is_stopping = False
        self._guard, self._pid = 0, 0
        self._status: int | None = None
        self._failed = ""
        self._sent = 0  # the signal that it was sent to end it
        self._ended = asyncio.Event()
        self._gone = asyncio.Event()  # the guard as well
        self._lines = b""
        self._on_end: Callable[[], None] = lambda: None
        self._looking: asyncio.Task[None] | None = None
        self._begun = 0.0

    def fork(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        """Fork the guard, which waits for `start`. Raises OSError."""
        set_process(PR_SET_CHILD_SUBREAPER, 1)  # if the guard is killed
        self._guard, self._link = fork_guard(argv, environment, self.folder)
        self._link.setblocking(False)

    def start(self, serves: Callable[[], bool], on_end: Callable[[], None]) -> None:
        """Start the server. `on_end` is called once when it has ended."""
        self._on_end, self._begun = on_end, time.monotonic()
        asyncio.get_running_loop().add_reader(self._link.fileno(), self._on_readable)
        self._send("start")
        self._looking = asyncio.ensure_future(self._log_ready(serves))

    async def _log_ready(self, serves: Callable[[], bool]) -> None:
        while not serves():  # noqa: ASYNC110  (readiness is probed when it is read)
            await asyncio.sleep(LOOK)
        log.info(f"{self.name} serves, after {time.monotonic() - self._begun:.1f} s")

    def _send(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the guard has ended
            self._link.send(line.encode() + b"\n")

    def _on_readable(self) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = self._link.recv(4096)
        *lines, self._lines = (self._lines + data).split(b"\n")
        for line in lines:
            self._on_line(line.decode().split())
        if not data:
            asyncio.get_running_loop().remove_reader(self._link.fileno())
            self._collect()

    def _on_line(self, parts: list[str]) -> None:
        number = int(parts[1])
        if parts[0] == "started":
            self._pid = number
            log.info(f"{self.name} is started, pid {number}")
        elif parts[0] == "failed":
            self._failed = os.strerror(number)
            self._end(f"{self.name} cannot be started: {self._failed}")
        else:
            self._status = number
            self._end(f"{self.name} {described(number)}")

    def _end(self, message: str) -> None:
        if self._ended.is_set():
            return
        (log.info if self.is_stopping else log.error)(message)
        if self._looking is not None:
            self._looking.cancel()
        self._ended.set()
        self._on_end()

    def _collect(self) -> None:
        """The guard has closed the link, as it ends. If it was killed, so was the server."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._guard, 0)
        kill_below(os.getpid())
        if not self._ended.is_set():
            self._status = signal.SIGKILL
            self._end(f"{self.name} was killed: its guard has ended")
        self._gone.set()

    def forward(self, number: int) -> None:
        """Send it a signal, if it has a handler: SIGHUP ends a server that has none."""
        if self._pid and not self._ended.is_set() and catches(self._pid, number):
            self._send(f"signal {number}")

    def kill(self) -> None:
        """End it at once, with all that it has started."""
        self._send("kill")

    async def stop(self, number: int) -> int:
        """End it by a signal, or by force after the timeout. Returns the proxy's exit status."""
        self.is_stopping = True
        if not self._begun:
            return 0
        if not self._ended.is_set():
            self._sent = number
            self._send(f"signal {number}")
            try:
                await asyncio.wait_for(self._ended.wait(), self._stop_timeout)
            except TimeoutError:
                log.warning(f"{self.name} has not ended {self._stop_timeout:g} s after "
                            f"{signal.Signals(number).name}; it is killed")  # fmt: skip
                self.kill()
        with contextlib.suppress(TimeoutError):  # `close` is the last means
            await asyncio.wait_for(self._gone.wait(), GUARD_PATIENCE)
        return self._exit_status()

    def _exit_status(self) -> int:
        """That of the server; 128 and the number of the signal that ended it. 0 if it was the one
        that it was sent."""
        if self._failed or self._status is None:
            return NOT_STARTED
        if os.WIFSIGNALED(self._status):
            number = os.WTERMSIG(self._status)
            return 0 if number == self._sent else 128 + number
        return os.waitstatus_to_exitcode(self._status)

    async def close(self) -> None:
        """Leave nothing behind, whatever has happened: closing the link makes the guard end all."""
        await cancel(self._looking)
        asyncio.get_running_loop().remove_reader(self._link.fileno())
        self._link.close()
        if not self._gone.is_set():
            await asyncio.to_thread(self._await_guard)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _await_guard(self) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._guard, 0)
