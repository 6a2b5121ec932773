"""Instructions per unit, by valgrind's callgrind: a figure that does not move with the machine.

Two loads that differ only in size are run under callgrind; the difference of the instructions over
the difference of the units is what one more unit costs, because start-up, end and everything that
goes by the clock cancel out. User space only: the kernel's share, most of the cost, is not in it.
"""

import json
import re
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from driver import processes
from driver.contestants import Contestant
from driver.scenarios import Scenario
from driver.trial import Place, generator_command, started

READY_PATIENCE = 240.0  # an interpreter starts slowly under valgrind
# Events: both loads last equally long, hence differ in conns. Requests: in exchanges per conn.
EVENTS = Scenario("callgrind-events", "streams", 32, events=100, ramp=0.5)
REQUESTS = Scenario("callgrind-requests", "requests", 4, unit="request", ramp=0.1)
LOADS: dict[str, tuple[tuple[Scenario, int], tuple[Scenario, int]]] = {
    "event": ((replace(EVENTS, conns=4), 2), (EVENTS, 2)),
    "request": ((REQUESTS, 25), (REQUESTS, 525)),
}


def instructions(folder: Path) -> int:
    """The sum over all processes that callgrind followed."""
    found = 0
    for out in folder.glob("callgrind.*"):
        summary = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
        found += int(summary[1]) if summary else 0
    return found


def run_load(place: Place, contestant: Contestant, load: Scenario, lives: int) -> tuple[int, int]:
    """Units relayed and instructions executed, start to end."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder).chmod(0o777)  # nginx's worker, another user, writes its own file
        out = f"--callgrind-out-file={folder}/callgrind.%p"
        prefix = ("valgrind", "-q", "--tool=callgrind", "--trace-children=yes", out)
        with started(place, load, contestant, prefix, READY_PATIENCE) as run:
            command = [*generator_command(place, load, run.target), "--lives", str(lives)]
            said = subprocess.run(command, capture_output=True, check=True, timeout=300)
            assert run.proxy is not None
            processes.end(run.proxy, patience=60)
        report = json.loads(said.stdout.splitlines()[-1])
        if report["failures"]:
            raise RuntimeError(f"{contestant.name}: {report['failures_by_kind']}")
        units = report["events"] if load.mode == "streams" else report["requests"]
        return units, instructions(Path(folder))


def measure(place: Place, contestant: Contestant) -> dict[str, Any]:
    """Instructions per event and per request of one contestant."""
    place = replace(place, seconds=240)
    found: dict[str, Any] = {"contestant": contestant.name}
    for unit, ((small, few), (large, many)) in LOADS.items():
        units_small, cost_small = run_load(place, contestant, small, few)
        units_large, cost_large = run_load(place, contestant, large, many)
        found[f"per_{unit}"] = (cost_large - cost_small) / (units_large - units_small)
    return found
