"""The simulator as a process that can be stopped, killed and started again on its port."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.servers import StoppableProcess


class StoppableSim(StoppableProcess):
    def __init__(self, **options: float) -> None:
        super().__init__()
        self.options = {"tokens_per_second": 200, "ttft": 0.001, **options}

    def command(self) -> list[str]:
        more = [f"--{name.replace('_', '-')}={value}" for name, value in self.options.items()]
        return [sys.executable, "-m", "zeroproxy", "sim", "--listen", f"127.0.0.1:{self.port}",
                *more]  # fmt: skip

    def spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        """In the working directory, from where the package may be imported."""
        with self.log.open("ab") as log:
            return subprocess.Popen(command, cwd=Path.cwd(), stdout=log, stderr=log)
