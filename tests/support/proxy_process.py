"""A real proxy process on free ports, for tests and benches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.ports import free_port
from tests.support.until import words_of


def with_ledger(text: str, path: Path) -> str:
    """`text` with its ledger at `path`, unless it names one of its own."""
    header, line = "[metering]\n", f"ledger = {json.dumps(str(path))}\n"
    before, found, after = text.partition(header)
    if not found:
        return f"{text}\n{header}{line}"
    return text if after.startswith("ledger") else before + header + line + after


def upstream_toml(*urls: str, **more: str) -> str:
    """An [[upstream]] over `urls`; `more` are lines of TOML values by key."""
    lines = ["[[upstream]]", 'name = "test"', f"endpoints = {json.dumps(list(urls))}"]
    lines += [f"{key} = {value}" for key, value in more.items()]
    return "\n".join(lines) + "\n"


NOWHERE = subprocess.DEVNULL
CLOSED = NOWHERE - 1


class ProxyProcess:
    """`python -m zeroproxy -c FILE`: started, waited for, and at the end stopped by SIGTERM with
    exit status 0 demanded. `text` is TOML without [server] and [admin]."""

    def __init__(
        self, text: str, *, server: str = "", wait_ready: bool = True, nofile: int = 0
    ) -> None:
        self.port, self.admin_port = free_port(), free_port()
        self.folder = tempfile.TemporaryDirectory(prefix="zp-")
        self.path = Path(self.folder.name) / "proxy.toml"
        self.ledger = Path(self.folder.name) / "usage.sqlite"
        self.path.write_text(
            f'[server]\nlisten = "127.0.0.1:{self.port}"\n{server}\n'
            f'[admin]\nlisten = "127.0.0.1:{self.admin_port}"\n{with_ledger(text, self.ledger)}'
        )
        self.errors = Path(self.folder.name) / "stderr"
        self.wait_ready = wait_ready
        self.nofile = nofile
        self.process: subprocess.Popen[bytes] | None = None
        #: Descriptors of its own instead of nothing and the file `errors`; or CLOSED.
        self.stdin = self.stdout = self.stderr = NOWHERE

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def _prepare(self) -> None:
        for number, fd in enumerate((self.stdin, self.stdout, self.stderr)):
            if fd == CLOSED:
                os.close(number)
        if self.nofile:
            import resource

            resource.setrlimit(resource.RLIMIT_NOFILE, (self.nofile, self.nofile))

    def command(self) -> list[str]:
        return [sys.executable, "-m", "zeroproxy", "-c", str(self.path)]

    def launch(self) -> None:
        """Begin it, and wait for nothing."""
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                self.command(),
                stdin=max(self.stdin, NOWHERE),
                stdout=max(self.stdout, NOWHERE),
                stderr=errors if self.stderr < 0 else self.stderr,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                preexec_fn=self._prepare,
            )

    def start(self) -> None:
        self.launch()
        assert self.process is not None
        deadline = time.monotonic() + 60
        path = "/readyz" if self.wait_ready else "/healthz"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the proxy ended: {self.errors.read_text()}")
            try:
                self.fetch(path)
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.05)
        raise AssertionError(f"the proxy is not ready: {self.errors.read_text()}")

    def fetch(self, path: str) -> bytes:
        with urllib.request.urlopen(self.admin_url + path, timeout=5) as response:
            return bytes(response.read())

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.fetch("/status")))

    def until(self, condition: Any, seconds: float = 30.0) -> dict[str, Any]:
        """The first /status that satisfies `condition`."""
        deadline = time.monotonic() + seconds
        while True:
            status = self.status()
            if condition(status):
                return status
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"not true within {seconds} s: {words_of(condition)}\n{status}"
                )
            time.sleep(0.02)

    def until_quiet(self) -> dict[str, Any]:
        """Wait until nothing is in flight; the debug counters must be zero then."""
        names = ("relays", "upstream_conns", "permits", "block_bytes", "bugs")
        return self.until(lambda s: not any(s["counters"][name] for name in names))

    def until_idle(self) -> dict[str, Any]:
        """Wait until no exchange is in flight; kept-alive callers may stay connected."""
        return self.until(
            lambda s: not s["counters"]["upstream_conns"] and not s["counters"]["permits"]
        )

    def terminate(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)

    def stop(self, seconds: float = 40.0) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"SIGTERM did not end it: {self.errors.read_text()}") from None

    def __enter__(self) -> ProxyProcess:
        try:
            self.start()
        except BaseException:
            if self.process is not None:
                self.process.kill()
                self.process.wait()
            self.folder.cleanup()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            status = self.stop()
            if kind is None:
                assert status == 0, f"exit status {status}: {self.errors.read_text()}"
            else:
                print(self.errors.read_text(), file=sys.stderr)
        finally:
            self.folder.cleanup()
