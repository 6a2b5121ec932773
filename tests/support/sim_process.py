"""The simulator as a process of its own: it shares no interpreter with its callers."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from types import TracebackType
from typing import Any


class SimProcess:
    """`zeroproxy sim` on a free port; `options` are its flags."""

    def __init__(self, *models: str, **options: object) -> None:
        self._flags = [f"--model={name}" for name in models]
        for name, value in options.items():
            flag = "--" + name.replace("_", "-")
            self._flags.append(flag if value is True else f"{flag}={value}")
        self.url = ""

    def __enter__(self) -> SimProcess:
        command = [sys.executable, "-m", "zeroproxy", "sim", "--listen=127.0.0.1:0", *self._flags]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().split()[-1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.communicate(timeout=20)

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self.url + path, timeout=20) as response:
            return dict(json.loads(response.read()))

    def stats(self) -> dict[str, int]:
        return self._get("/sim/stats")

    def accounts(self) -> list[dict[str, Any]]:
        return list(self._get("/sim/accounts")["accounts"])
