"""Ratios of CPU time to a few percent, on a machine whose speed is not its own.

In each round each contestant is loaded for half a second, in an order drawn anew. Its CPU per unit
is divided by the first one's of the same round. Changes from minute to minute, of a neighbour or a
clock, hit all of them in a round alike. After some rounds all are started anew:
where its memory comes to lie makes a process faster or slower for as long as it lives. It
prints the median of the ratios, and the bounds of 95 of 100 medians. These are drawn anew from the
same starts, and of each from its rounds (percentile bootstrap of clusters, Efron 1979).
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
from driver.trial import Place, Started, generator_command, padded, started
from rich.console import Console
from rich.table import Table
from run import RESULTS, WIDTH, chosen, cores, present, take_the_machine

DEFAULT = "streams-512,requests-64"
DRAWS = 2000
#: Of one turn, seconds. The first exchange on a conn must be over, which takes streams four: the
#: kernel acknowledges every event of it, and every other one later. The relay's conns are all new
#: in each turn, a pooling proxy's are not, so beginning earlier makes the relay look dearer.
BEFORE = {"streams": {"ramp": 0.3, "warmup": 4.5}, "requests": {"ramp": 0.05, "warmup": 0.6}}

Round = dict[str, float]  # {contestant: microseconds of CPU per unit}
Starts = list[list[Round]]


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
    add("--rounds", type=int, default=60, help="default 60: eleven minutes for two of streams")
    add("--starts", type=int, default=10, help="the rounds are dealt out over so many: default 10")
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


def play(place: Place, scenario: Scenario, rivals: list[Contestant], rounds: int) -> list[Round]:
    """The rounds of one start."""
    found: list[Round] = []
    with contextlib.ExitStack() as undo:
        runs = {r.name: undo.enter_context(started(place, scenario, r)) for r in rivals}
        for run in runs.values():
            turn(place, scenario, run)
        for _ in range(rounds):
            order = random.sample(list(runs), len(runs))
            found.append({name: turn(place, scenario, runs[name]) for name in order})
    return found


def drawn(starts: list[list[float]]) -> float:
    """The median of as many starts, and of each as many rounds, drawn from these."""
    again = random.choices(starts, k=len(starts))
    return median(ratio for one in again for ratio in random.choices(one, k=len(one)))


def interval(starts: list[list[float]]) -> tuple[float, float]:
    """Where 95 of 100 medians drawn from these lie."""
    draws = sorted(drawn(starts) for _ in range(DRAWS))
    return draws[int(DRAWS * 0.025)], draws[int(DRAWS * 0.975)]


def summary(starts: Starts, name: str, first: str) -> dict[str, Any]:
    """One row."""
    ratios = [[one[name] / one[first] for one in rounds] for rounds in starts]
    low, high = interval(ratios)
    cpu = sorted(one[name] for rounds in starts for one in rounds)
    quarter = len(cpu) // 4
    return {
        "contestant": name,
        "cpu_us_per_unit": median(cpu),
        "cpu_us_quartiles": [cpu[quarter], cpu[-1 - quarter]],
        "ratio": median(ratio for one in ratios for ratio in one),
        "ratio_95": [low, high],
    }


def show(console: Console, scenario: Scenario, rows: list[dict[str, Any]], starts: Starts) -> None:
    """One scenario."""
    title = f"{scenario.name}, {sum(map(len, starts))} rounds, {len(starts)} starts"
    out = Table(title=title, title_justify="left")
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
        each = max(options.rounds // options.starts, 1)
        starts = [play(padded(place, n), scenario, rivals, each) for n in range(options.starts)]
        rows = [summary(starts, r.name, rivals[0].name) for r in rivals]
        show(console, scenario, rows, starts)
        kept["scenarios"].append({"scenario": scenario.name, "rows": rows, "starts": starts})
    report.write(options.out or RESULTS / time.strftime("turns-%Y%m%d-%H%M%S.json"), kept, console)
    lock.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
