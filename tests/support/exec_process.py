"""`zeroproxy exec` as a process, and the processes below it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.proxy_process import ProxyProcess
from tests.support.until import words_of
from zeroproxy.server.guard import below

SIM = (sys.executable, "-m", "zeroproxy", "sim")
UPSTREAM = '[[upstream]]\nname = "test"\n'
NO_PROBES = UPSTREAM + 'health = { path = "" }\n'


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not true within {seconds} s: {words_of(condition)}"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    """False also for one that has ended and was not collected."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class ExecProcess(ProxyProcess):
    """Runs `words` behind the proxy. `text` is TOML without [server] and [admin]."""

    def __init__(
        self,
        *words: str,
        text: str = '[[upstream]]\nname = "test"\n',
        options: tuple[str, ...] = (),
    ) -> None:
        super().__init__(text)
        self.words, self.options = words, options

    def command(self) -> list[str]:
        return [*super().command(), "exec", *self.options, "--", *self.words]

    def below(self) -> list[int]:
        return below(self.pid)

    @property
    def guard(self) -> int:
        (child,) = [pid for pid in self.below() if parent_of(pid) == self.pid]
        return child

    @property
    def served(self) -> int:
        guard = self.guard
        (child,) = [pid for pid in self.below() if parent_of(pid) == guard]
        return child

    def folder_of_socket(self) -> Path:
        url = self.status()["upstreams"][0]["endpoints"][0]["url"]
        assert url.startswith("unix:"), url
        return Path(url.removeprefix("unix:")).parent

    def until_served(self) -> None:
        """A probe of the server was answered."""
        wait_until(lambda: " serves, after " in self.errors.read_text(), 120)

    def ended(self, seconds: float = 60.0) -> int:
        """The exit status; nothing is sent."""
        assert self.process is not None
        return self.process.wait(seconds)


class NotedProcess(ExecProcess):
    """Runs served_program.py; `notes` are its lines."""

    def __init__(self, *modes: str, options: tuple[str, ...] = ()) -> None:
        super().__init__(text=NO_PROBES, options=options)
        self.notes_path = Path(self.folder.name) / "notes"
        program = str(Path(__file__).with_name("served_program.py"))
        self.words = (sys.executable, program, "{socket}", str(self.notes_path), *modes)

    def notes(self) -> list[str]:
        return self.notes_path.read_text().splitlines() if self.notes_path.exists() else []

    def noted(self, name: str) -> list[str]:
        """The words behind a name."""
        (line,) = [one for one in self.notes() if one.split()[0] == name]
        return line.split()[1:]

    def until_noted(self, line: str) -> None:
        wait_until(lambda: line in self.notes())


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def remove(*pids: int) -> None:
    """For tests that fail: leave nothing running."""
    for pid in pids:
        if lives(pid):
            os.kill(pid, 9)
