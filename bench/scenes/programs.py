"""Programs the scenes need, started on free ports and ended by whoever started them."""

from __future__ import annotations

import math
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least `q` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


class Running:
    """A program that answers at `url`."""

    def __init__(self, command: Sequence[str], url: str, path: str) -> None:
        self.url = url
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            if self.process.poll() is not None:
                raise SystemExit(f"{' '.join(command)}: exit status {self.process.returncode}")
            try:
                urllib.request.urlopen(url + path, timeout=1).close()
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                if time.monotonic() > deadline:
                    self.close()
                    raise SystemExit(f"{' '.join(command)}: does not answer") from None
                time.sleep(0.05)

    @classmethod
    def simulator(cls, slots: int, *more: str) -> Running:
        """zeroproxy sim with so many slots, at 50 tokens/s each."""
        port = free_port()
        command = [
            sys.executable, "-m", "zeroproxy", "sim", "--listen", f"127.0.0.1:{port}",
            "--max-running", str(slots), *more,
        ]  # fmt: skip
        return cls(command, f"http://127.0.0.1:{port}", "/health")

    @classmethod
    def proxy(cls, config: Path, port: int) -> Running:
        command = [sys.executable, "-m", "zeroproxy", "-c", str(config)]
        return cls(command, f"http://127.0.0.1:{port}", "/v1/models")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
