"""The machine of the figures: without it they mean nothing."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from driver.contestants import CONTESTANTS
from driver.programs import BENCH


def cpu_model() -> str:
    """The first name in /proc/cpuinfo (arm64 has none there)."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def first_line(*command: str) -> str:
    """First line that a tool prints; empty if it is not there."""
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=BENCH)
    except OSError:
        return ""
    return said.stdout.strip().split("\n")[0]


def facts(nofile: int) -> dict[str, Any]:
    """Machine and versions, for the JSON and the head of the table."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "hypervisor": "hypervisor" in Path("/proc/cpuinfo").read_text(encoding="utf-8"),
        "load_before": os.getloadavg()[0],
        "nofile": nofile,
        "python": sys.version.split()[0],
        "compiler": first_line(os.environ.get("CC", "gcc"), "--version"),
        "commit": first_line("git", "rev-parse", "--short", "HEAD"),
        "changed": bool(first_line("git", "status", "--porcelain", "--untracked-files=no")),
        "versions": {c.name: c.version_line() for c in CONTESTANTS if c.version_line()},
    }
