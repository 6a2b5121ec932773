"""Real servers of the tests: found or skipped aloud, started, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port


def missing(what: str, how: str) -> None:
    """Skip; where CI is set a missing server is a failure."""
    message = f"NO {what.upper()}: {how}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


class ServerProcess:
    """One server on a port and in a folder that both survive `stop` and `start`."""

    user: str | None = None  # whose process it is; None: ours

    def __init__(self) -> None:
        self.port = free_port()
        self.temporary = tempfile.TemporaryDirectory(prefix="zp-server-")
        self.folder = Path(self.temporary.name)
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise AssertionError("each server has its own")

    def ping(self) -> None:
        """Raise unless it answers."""

    def spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        more: dict[str, Any] = {"user": self.user, "group": self.user, "extra_groups": []}
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, **(more if self.user else {})
            )

    @property
    def log(self) -> Path:
        return self.folder.parent / f"{self.folder.name}.log"

    def start(self) -> None:
        self.process = self.spawn(self.command())
        deadline = time.monotonic() + 60
        while True:
            try:
                return self.ping()
            except Exception as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"{error}: {self.log.read_text()}") from error
                time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(60)
        self.process = None

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self.temporary.cleanup()
            self.log.unlink(missing_ok=True)


class StoppableProcess(ServerProcess):
    """One that answers GET /health, and may be stopped or killed under its callers."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ping(self) -> None:
        with urllib.request.urlopen(f"{self.url}/health", timeout=5) as response:
            assert response.status == 200

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.send(signal.SIGCONT)
        super().stop(number)
