"""The JSON of a run. Times in seconds. The schema's number grows when a reader would break."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from zeroproxy._version import __version__
from zeroproxy.loadtest.dialects import Ask
from zeroproxy.loadtest.options import Settings
from zeroproxy.loadtest.runs import Run, Side
from zeroproxy.loadtest.tally import TIMES

SCHEMA = 1
QUANTILES = ("p50", "p90", "p99", "max")


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def machine() -> dict[str, Any]:
    load = os.getloadavg() if hasattr(os, "getloadavg") else (None,)
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "load_average": load[0],
    }


def versions() -> dict[str, str]:
    found = {"zeroproxy": __version__, "python": sys.version.split()[0]}
    for name in ("aiohttp", "uvloop", "orjson"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    return found


def as_number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def compared(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """The second over the first, and the second less the first, of every figure both have."""
    pairs = {
        f"{name}_s.{quantile}": (first[f"{name}_s"][quantile], second[f"{name}_s"][quantile])
        for name in TIMES
        for quantile in QUANTILES
    }
    rates = ("tokens_per_s", "answers_per_s", "success_rate")
    pairs |= {name: (first[name], second[name]) for name in rates}
    found = {}
    for name, (a, b) in pairs.items():
        before, after = as_number(a), as_number(b)
        if before is None or after is None:
            continue
        ratio = after / before if before else None
        found[name] = {"ratio": ratio, "difference": after - before}
    return found


def side_as_dict(side: Side, ask: Ask) -> dict[str, Any]:
    return {
        "url": side.target.name,
        "model": ask.model,
        "asked_for_usage": ask.streams and ask.wants_usage,
        **side.all.summary(ask.streams),
        "slices": [one.summary(ask.streams) for one in side.slices] if len(side.slices) > 1 else [],
    }


def run_as_dict(run: Run, asks: list[Ask]) -> dict[str, Any]:
    sides = [side_as_dict(side, ask) for side, ask in zip(run.sides, asks, strict=True)]
    found: dict[str, Any] = {"concurrency": run.concurrency, "sides": sides}
    if len(sides) == 2:
        found["compared"] = compared(*sides)
    return found


def document(
    settings: Settings, asks: list[Ask], runs: list[Run], begun: datetime, is_cut: bool
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "kind": "zeroproxy bench",
        "begun": begun.astimezone(UTC).isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "interrupted": is_cut,
        "settings": settings.as_dict(),
        "machine": machine(),
        "versions": versions(),
        "runs": [run_as_dict(run, asks) for run in runs],
    }
