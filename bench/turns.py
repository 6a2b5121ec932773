"""Ratios of CPU time to a few percent, on a machine whose speed is not its own.

All contestants are started once and stay. In each round each is loaded for half a second, in an
order drawn anew, and its CPU per unit is divided by the first one's of the same round. What changes
from minute to minute, a neighbour or a clock, hits all of them in a round alike. Printed: the
median of the ratios, and between which values 95 of 100 medians lie that are drawn from the same
rounds anew (percentile bootstrap, Efron 1979).
"""

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from driver import machine, report, scenarios
from driver.contestants import Contestant
from driver.processes import raise_nofile
from driver.programs import compile_programs
from driver.scenarios import Scenario
from driver.trial import Place, Started, generator_command, started
from rich.console import Console
from rich.table import Table
from run import RESULTS, WIDTH, chosen, cores, present, take_the_machine

DEFAULT = "streams-512,requests-64"
DRAWS = 2000
#: Of one turn, seconds. Streams need a moment until all of them have begun.
BEFORE = {"streams": {"ramp": 0.3, "warmup": 0.4}, "requests": {"ramp": 0.05, "warmup": 0.1}}

Rounds = list[dict[str, float]]  # {contestant: microseconds of CPU per unit}


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    add = parser.add_argument
    add("--only", default=DEFAULT, help=f"scenarios with streams or requests; default {DEFAULT}")
    add(
        "--contestants",
        default="floor,zeroproxy",
        help="the first is what the rest is held against",
    )
    add("--rounds", type=int, default=60, help="default 60: about two minutes for two contestants")
    add("--seconds", type=float, default=0.5, help="measured per turn: default 0.5")
    add("--cores", default="", help="LOAD,PROXY: the two cores; default: the first two allowed")
    add("--out", type=Path, help="JSON file; default: bench/results/turns-DATE.json")
    return parser.parse_args()


def turn(place: Place, scenario: Scenario, run: Started) -> float:
    """CPU microseconds per unit of one short load; any failure ends the run."""
    pids = ",".join(map(str, run.proxy_tree()))
    command = [*generator_command(place, scenario, run), "--cpu-of", pids]
    done = subprocess.run(
        ["taskset", "-c", str(place.load_core), *command],
        capture_output=True,
        check=True,
        timeout=60,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    units = found["events"] if scenario.unit == "event" else found["requests"]
    if found["failures"] or not units:
        sys.exit(f"{scenario.name} {run.target}: {found['failures_by_kind'] or 'nothing arrived'}")
    return sum(found["cpu_ns"].values()) / 1e3 / units


def play(place: Place, scenario: Scenario, rivals: list[Contestant], rounds: int) -> Rounds:
    """All rounds of a scenario."""
    found: Rounds = []
    with contextlib.ExitStack() as undo:
        runs = {r.name: undo.enter_context(started(place, scenario, r)) for r in rivals}
        for run in runs.values():
            turn(place, scenario, run)
        for _ in range(rounds):
            order = random.sample(list(runs), len(runs))
            found.append({name: turn(place, scenario, runs[name]) for name in order})
    return found


def interval(values: list[float]) -> tuple[float, float]:
    """Where 95 of 100 medians of values drawn from these lie."""
    draws = sorted(median(random.choices(values, k=len(values))) for _ in range(DRAWS))
    return draws[int(DRAWS * 0.025)], draws[int(DRAWS * 0.975)]


def summary(rounds: Rounds, name: str, first: str) -> dict[str, Any]:
    """One row."""
    ratios = [one[name] / one[first] for one in rounds]
    low, high = interval(ratios)
    cpu = sorted(one[name] for one in rounds)
    quarter = len(cpu) // 4
    return {
        "contestant": name,
        "cpu_us_per_unit": median(cpu),
        "cpu_us_quartiles": [cpu[quarter], cpu[-1 - quarter]],
        "ratio": median(ratios),
        "ratio_95": [low, high],
    }


def show(console: Console, scenario: Scenario, rows: list[dict[str, Any]], rounds: int) -> None:
    """One scenario."""
    out = Table(title=f"{scenario.name}, {rounds} rounds", title_justify="left")
    for head in ("proxy", f"µs CPU/{scenario.unit}", "middle half", "ratio", "95 % of medians"):
        out.add_column(head, justify="left" if head == "proxy" else "right")
    for row in rows:
        low, high = row["cpu_us_quartiles"]
        out.add_row(
            row["contestant"],
            f"{row['cpu_us_per_unit']:.2f}",
            f"{low:.1f}–{high:.1f}",
            f"{row['ratio']:.3f}",
            "–".join(f"{value:.3f}" for value in row["ratio_95"]),
        )
    console.print(out)


def short(scenario: Scenario) -> Scenario:
    """The same load with a short beginning."""
    if scenario.mode not in BEFORE:
        sys.exit(f"{scenario.name}: turns are for streams and requests")
    return replace(scenario, **BEFORE[scenario.mode])


def main() -> int:
    """Returns 1 if there was nobody to compare."""
    options, console = parse(), Console(width=WIDTH)
    loads = [short(s) for s in chosen(options.only, scenarios.BY_NAME, [])]
    lock = take_the_machine(waits=False)
    nofile = raise_nofile()
    place = Place(compile_programs(), *cores(options, console), nofile, options.seconds)
    rivals = present(options, console)
    if len(rivals) < 2:
        return 1
    os.sched_setaffinity(0, {place.load_core})
    kept: dict[str, Any] = {"machine": machine.facts(nofile), "seconds": options.seconds}
    kept["scenarios"] = []
    for scenario in loads:
        rounds = play(place, scenario, rivals, options.rounds)
        rows = [summary(rounds, r.name, rivals[0].name) for r in rivals]
        show(console, scenario, rows, len(rounds))
        kept["scenarios"].append({"scenario": scenario.name, "rows": rows, "rounds": rounds})
    report.write(options.out or RESULTS / time.strftime("turns-%Y%m%d-%H%M%S.json"), kept, console)
    lock.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
