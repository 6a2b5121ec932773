"""Figures per unit from a tool that counts everything a program does from its start to its end.

Two loads that differ only in size are run under the tool. The difference of the counts over the
difference of the units is the cost of one more unit. Start-up, end and work by the clock cancel
out.
"""

import json
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from driver import processes
from driver.contestants import Contestant
from driver.scenarios import Scenario
from driver.trial import Place, generator_command, started

READY_PATIENCE = 240.0  # an interpreter starts slowly under valgrind
# Events: both loads last equally long, hence differ in conns. Requests: in exchanges per conn.
EVENTS = Scenario("counted-events", "streams", 32, events=100, ramp=0.5)
REQUESTS = Scenario("counted-requests", "requests", 4, unit="request", ramp=0.1)
LOADS: dict[str, tuple[tuple[Scenario, int], tuple[Scenario, int]]] = {
    "event": ((replace(EVENTS, conns=4), 2), (EVENTS, 2)),
    "request": ((REQUESTS, 25), (REQUESTS, 525)),
}
# The same events, but each comes alone. The wake-ups of a burst depend on other work of the
# machine, and a gate must not.
ALONE = replace(EVENTS, step_ms=192, spread=32, events=50)
LOADS_ALONE = {**LOADS, "event": ((replace(ALONE, conns=4), 2), (ALONE, 2))}
Counts = dict[str, int]


@dataclass(frozen=True)
class Tool:
    """Arguments in front of the command, and the reader of its counts; both get its folder."""

    program: str
    prefix: Callable[[Path], tuple[str, ...]]
    read: Callable[[Path], Counts]
    loads: dict[str, tuple[tuple[Scenario, int], tuple[Scenario, int]]] = field(
        default_factory=lambda: LOADS
    )


def run_load(
    place: Place, contestant: Contestant, tool: Tool, load: tuple[Scenario, int]
) -> tuple[int, Counts]:
    """Units relayed, and what the tool counted from start to end."""
    scenario, lives = load
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder).chmod(0o777)  # nginx's worker, another user, writes its own file
        prefix = tool.prefix(Path(folder))
        with started(place, scenario, contestant, prefix, READY_PATIENCE) as run:
            command = [*generator_command(place, scenario, run), "--lives", str(lives)]
            said = subprocess.run(command, capture_output=True, check=True, timeout=300)
            assert run.proxy is not None
            processes.end(run.proxy, patience=60)
        report = json.loads(said.stdout.splitlines()[-1])
        if report["failures"]:
            raise RuntimeError(f"{contestant.name}: {report['failures_by_kind']}")
        units = report["events"] if scenario.mode == "streams" else report["requests"]
        return units, tool.read(Path(folder))


def measure(place: Place, contestant: Contestant, tool: Tool) -> dict[str, dict[str, float]]:
    """{unit: {what: count per unit}}"""
    place = replace(place, seconds=240)
    found: dict[str, dict[str, float]] = {}
    for unit, (small, large) in tool.loads.items():
        units_small, counts_small = run_load(place, contestant, tool, small)
        units_large, counts_large = run_load(place, contestant, tool, large)
        more = units_large - units_small
        found[unit] = {
            what: (count - counts_small.get(what, 0)) / more for what, count in counts_large.items()
        }
    return found


def as_row(contestant: Contestant, found: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The sums, for a JSON file."""
    sums = {f"per_{unit}": sum(counts.values()) for unit, counts in found.items()}
    return {"contestant": contestant.name, **sums, "by": found}
