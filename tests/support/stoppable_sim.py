"""The simulator as a process that can be stopped, killed and started again on its port."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.support.servers import ServerProcess


class StoppableSim(ServerProcess):
    def __init__(self, **options: float) -> None:
        super().__init__()
        self.options = {"tokens_per_second": 200, "ttft": 0.001, **options}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        more = [f"--{name.replace('_', '-')}={value}" for name, value in self.options.items()]
        return [sys.executable, "-m", "zeroproxy", "sim", "--listen", f"127.0.0.1:{self.port}",
                *more]  # fmt: skip

    def spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        """In the working directory, from where the package may be imported."""
        with self.log.open("ab") as log:
            return subprocess.Popen(command, cwd=Path.cwd(), stdout=log, stderr=log)

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
