"""The process between the proxy and an inference server that it started (`zeroproxy exec`).

Law. Nothing that was started outlives the proxy, however it ends. The guard sees the end of the
     proxy as the end of their socket. It is the subreaper of all that the server starts. The
     kernel kills the server if the guard ends (PR_SET_PDEATHSIG).
Tests: tests/e2e/test_exec.py, tests/e2e/test_exec_ends.py.

It is forked before the proxy has a thread, runs on one thread, and prints nothing. Lines on the
socket: from the proxy `start`, `signal N`, `kill`; to it `started PID`, `failed ERRNO`, `ended
STATUS` (as waitpid has it).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
#: Seconds that a server has to end after SIGTERM when the proxy is gone.
GRACE = 10.0
#: Seconds that processes of a server have after its own end.
REST = 2.0
POLL = 0.02
#: Of a service manager, for one process alone; the descriptors are not passed on.
NOT_PASSED_ON = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID")


def set_process(option: int, value: int) -> None:
    """prctl. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def parents() -> dict[int, int]:
    """The parent of each process."""
    found: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                # The name stands in brackets and may hold anything.
                rest = (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2]
                state, parent = rest.split()[:2]
                if state != "Z":
                    found[int(entry.name)] = int(parent)
    return found


def below(root: int) -> list[int]:
    """All living descendants of a process."""
    tree, found = parents(), {root}
    while more := {pid for pid, parent in tree.items() if parent in found} - found:
        found |= more
    return sorted(found - {root})


def signal_each(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_below(root: int) -> None:
    """Kill all descendants; those that are born meanwhile as well."""
    deadline = time.monotonic() + REST
    while (rest := below(root)) and time.monotonic() < deadline:
        signal_each(rest, signal.SIGKILL)
        time.sleep(POLL)


class Guard:
    """Runs in the forked process; `run` never returns to the proxy's code."""

    def __init__(
        self, link: socket.socket, argv: Sequence[str], environment: Mapping[str, str], folder: str
    ) -> None:
        self._link, self._argv, self._folder = link, list(argv), folder
        self._environment = {k: v for k, v in environment.items() if k not in NOT_PASSED_ON}
        self._pid = 0
        self._status: int | None = None
        self._deadline: float | None = None  # for the server, once the proxy is gone
        self._lines = b""
        self._wake, self._woken = socket.socketpair()

    def _prepare(self) -> None:
        os.setsid()  # a terminal's Ctrl-C is for the proxy alone
        set_process(PR_SET_CHILD_SUBREAPER, 1)
        # A service manager may signal the whole group: the server's end decides about this one's.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        for end in (self._wake, self._woken):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)

    def run(self) -> None:
        """Until the server and the proxy have ended, or the proxy asked for no start."""
        self._prepare()
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        is_linked = True
        while self._status is None and (is_linked or self._pid):
            for fd, _ in poll.poll(self._patience()):
                if fd == self._link.fileno() and not self._read():
                    is_linked = False
                    poll.unregister(self._link)
                    self._on_orphaned()
            self._reap()
            if self._deadline is not None and time.monotonic() > self._deadline:
                kill_below(os.getpid())
                break  # one that the kernel cannot end is not waited for
        self._end_rest()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _patience(self) -> int | None:
        """Milliseconds; None: no limit."""
        if self._deadline is None:
            return None
        return int(max(self._deadline - time.monotonic(), POLL) * 1000)

    def _on_orphaned(self) -> None:
        if self._pid:
            self._deadline = time.monotonic() + GRACE
            signal_each([self._pid], signal.SIGTERM)

    def _read(self) -> bool:
        """Do what the proxy asks for. False: it is gone."""
        try:
            data = self._link.recv(4096)
        except ConnectionError:
            return False
        *lines, self._lines = (self._lines + data).split(b"\n")
        for line in lines:
            self._obey(line.split())
        return bool(data)

    def _obey(self, argv: list[bytes]) -> None:
        if argv[0] == b"start":
            self._start()
        elif argv[0] == b"kill":
            kill_below(os.getpid())
        elif self._pid and self._status is None:
            signal_each([self._pid], int(argv[1]))

    def _start(self) -> None:
        guard = os.getpid()

        def prepare() -> None:
            set_process(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != guard:  # it ended before the kernel was asked
                os._exit(1)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)

        try:
            # Kept: its __del__ would collect the exit status.
            self._process = subprocess.Popen(
                self._argv, env=self._environment, stdin=subprocess.DEVNULL, process_group=0,
                preexec_fn=prepare,
            )  # fmt: skip
        except OSError as error:
            self._status = 127 << 8
            self._send(f"failed {error.errno or 0}")
            return
        self._pid = self._process.pid
        self._send(f"started {self._pid}")

    def _send(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the proxy is gone; its end is seen as one
            self._link.sendall(line.encode() + b"\n")

    def _reap(self) -> None:
        """Collect whatever has ended: the server, and what its processes left behind."""
        with contextlib.suppress(BlockingIOError):
            self._wake.recv(4096)
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == self._pid:
                    self._status = found[1]
                    self._send(f"ended {found[1]}")

    def _end_rest(self) -> None:
        """End what the server started and left running."""
        deadline = time.monotonic() + REST
        signal_each(below(os.getpid()), signal.SIGTERM)
        while below(os.getpid()) and time.monotonic() < deadline:
            self._reap()
            time.sleep(POLL)
        kill_below(os.getpid())


def fork_guard(
    argv: Sequence[str], environment: Mapping[str, str], folder: str
) -> tuple[int, socket.socket]:
    """Fork; returns the guard's pid and the proxy's end of the link. The process must have no other
    thread. Raises OSError."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    try:
        ours.close()
        Guard(theirs, argv, environment, folder).run()
    finally:
        os._exit(0)
