"""The side-by-side measurement. `make bench`, or with options: python bench/run.py --help

Each scenario is run by every contestant in turn, `--repeats` times over, beginning with another
one each time. README.md explains the figures.
"""

import argparse
import fcntl
import os
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from driver import contestants, counting, machine, report, scenarios
from driver.callgrind import CALLGRIND, CALLGRIND_PLANE
from driver.contestants import Contestant
from driver.processes import raise_nofile
from driver.programs import BENCH, compile_programs
from driver.scenarios import Scenario
from driver.syscalls import STRACE
from driver.trial import Place, padded, run_trial
from rich.console import Console

RESULTS = BENCH / "results"
# A pipe has no width; a table that wraps its figures is no use in a file.
WIDTH = 205


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0] if __doc__ else "")
    curves = [row for rows in scenarios.GROUPS.values() for row in rows]
    names = [s.name for s in scenarios.SCENARIOS if s not in curves] + list(scenarios.GROUPS)
    rivals = ", ".join(c.name for c in contestants.CONTESTANTS)
    add = parser.add_argument
    add("--quick", action="store_true", help="a small subset, one short repeat")
    add("--only", help=f"scenarios, comma-separated, of: {', '.join(names)}")
    add("--contestants", help=f"comma-separated, of: {rivals}")
    add("--repeats", type=int, help="default 3; 1 with --quick")
    add("--seconds", type=float, help="measured per trial: default 10; 3 with --quick")
    add("--conns", type=int, help="conns instead of the scenarios' own")
    add("--cores", default="", help="LOAD,PROXY: the two cores; default: the first two allowed")
    add("--out", type=Path, help="JSON file; default: bench/results/DATE.json")
    add("--callgrind", action="store_true", help="instructions per unit instead of times")
    add("--plane", action="store_true", help="with --callgrind: of zeroproxy's data plane alone")
    add("--syscalls", action="store_true", help="system calls per unit instead of times")
    return parser.parse_args()


def chosen(text: str | None, known: dict[str, Any], default: list[str]) -> list[Any]:
    """Rows by name; an unknown name ends the run."""
    names = text.split(",") if text else default
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return [known[name] for name in names]


def chosen_scenarios(options: argparse.Namespace) -> list[Scenario]:
    """Scenarios to run."""
    default = [s.name for s in scenarios.SCENARIOS if s.quick or not options.quick]
    if not options.quick:
        default = list(scenarios.DEFAULT)
    groups = {name: ",".join(s.name for s in rows) for name, rows in scenarios.GROUPS.items()}
    words = [groups.get(word, word) for word in options.only.split(",")] if options.only else []
    found = chosen(",".join(words), scenarios.BY_NAME, default)
    return [replace(s, conns=options.conns) for s in found] if options.conns else found


def cores(options: argparse.Namespace, console: Console) -> tuple[int, int]:
    """Load core and proxy core."""
    allowed = sorted(os.sched_getaffinity(0))
    named = [int(core) for core in options.cores.split(",")] if options.cores else allowed[:2]
    if len(named) < 2:
        console.print("ONE CORE ONLY: load and proxy share it, latencies say nothing", style="red")
    return named[0], named[-1]


def present(options: argparse.Namespace, console: Console) -> list[Contestant]:
    """Contestants that take part; absent ones are named."""
    found = []
    for contestant in chosen(options.contestants, contestants.BY_NAME, list(contestants.DEFAULT)):
        if missing := contestant.missing():
            console.print(f"SKIPPED {contestant.name}: {missing}", style="bold red")
        else:
            found.append(contestant)
    return found


def run_scenario(
    place: Place, scenario: Scenario, rivals: list[Contestant], repeats: int, console: Console
) -> tuple[list[dict[str, Any]], list[str]]:
    """All trials of a scenario, interleaved; and what went wrong."""
    trials: list[dict[str, Any]] = []
    errors: list[str] = []
    if scenario.tls:
        for contestant in (c for c in rivals if not c.speaks_tls()):
            console.print(f"SKIPPED {contestant.name} in {scenario.name}: no TLS", style="bold red")
        rivals = [c for c in rivals if c.speaks_tls()]
    if not rivals:
        return trials, errors
    for repeat in range(repeats):
        turn = repeat % len(rivals)
        for contestant in rivals[turn:] + rivals[:turn]:
            console.print(f"{scenario.name} {repeat + 1}/{repeats} {contestant.name}", style="dim")
            try:
                trial = run_trial(padded(place, repeat), scenario, contestant)
            except (RuntimeError, OSError, ValueError) as error:
                errors.append(f"{scenario.name}, {contestant.name}: {error}")
                console.print(f"FAILED {errors[-1]}", style="bold red", markup=False)
            else:
                trials.append({"repeat": repeat, "pad": padded(place, repeat).pad, **trial})
    return trials, errors


def count(
    place: Place, tool: counting.Tool, rivals: list[Contestant], out: Path, console: Console
) -> int:
    """Instructions or system calls per event and per request."""
    if not shutil.which(tool.program):
        sys.exit(f"this needs {tool.program}")
    rows = []
    for contestant in rivals:
        if not contestant.command:
            continue
        row = counting.as_row(contestant, counting.measure(place, contestant, tool))
        rows.append(row)
        for unit, counts in row["by"].items():
            parts = sorted(counts.items(), key=lambda item: -item[1])
            said = ", ".join(f"{name} {n:,.2f}" for name, n in parts if n >= 0.005)
            total = row[f"per_{unit}"]
            console.print(f"{contestant.name:12} {total:>12,.2f} per {unit:8} {said}")
    report.write(out, {"counted": tool.program, "rows": rows}, console)
    return 0


def fits(scenario: Scenario, nofile: int, console: Console) -> bool:
    """A proxy needs two descriptors per exchange."""
    if 2 * scenario.conns + 500 <= nofile:
        return True
    need = 2 * scenario.conns + 500
    console.print(f"SKIPPED {scenario.name}: needs ulimit -Hn {need}, has {nofile}", style="red")
    return False


def take_the_machine(waits: bool) -> IO[str]:
    """Two runs at once would measure each other. The lock lasts as long as the file is open."""
    lock = (Path(tempfile.gettempdir()) / "zeroproxy-bench.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if not waits:
            sys.exit("another run of this bench is under way on this machine: wait for its end")
        print("another run of this bench is under way: waiting for its end", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def main() -> int:
    """Returns 1 if any trial could not be run or any response was wrong."""
    options, console = parse(), Console(width=WIDTH)
    counts = options.callgrind or options.syscalls
    lock = take_the_machine(waits=counts)
    nofile = raise_nofile()
    seconds = options.seconds or (3.0 if options.quick else 10.0)
    repeats = options.repeats or (1 if options.quick else 3)
    place = Place(compile_programs(), *cores(options, console), nofile, seconds)
    rivals = present(options, console)
    os.sched_setaffinity(0, {place.load_core})  # the driver itself keeps off the proxy's core
    out = options.out or RESULTS / time.strftime("%Y%m%d-%H%M%S.json")
    if counts:
        valgrind = CALLGRIND_PLANE if options.plane else CALLGRIND
        tool = valgrind if options.callgrind else STRACE
        return count(place, tool, rivals, out, console)
    facts = machine.facts(nofile)
    console.print(f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}")
    if facts["load_before"] > 0.5:
        console.print(f"load average {facts['load_before']:.1f}: not alone here", style="bold red")
    kept: dict[str, Any] = {"machine": facts, "seconds": seconds, "repeats": repeats}
    kept["scenarios"] = []
    errors: list[str] = []
    for scenario in chosen_scenarios(options):
        if not fits(scenario, nofile, console):
            continue
        trials, wrong = run_scenario(place, scenario, rivals, repeats, console)
        errors += wrong
        names = [c.name for c in rivals if any(t["contestant"] == c.name for t in trials)]
        rows = [report.summary(trials, name) for name in names]
        report.show(console, scenario, rows)
        kept["scenarios"].append({"scenario": asdict(scenario), "rows": rows, "trials": trials})
        errors += [f"{scenario.name}, {r['contestant']}: failures" for r in rows if r["failures"]]
    kept["errors"] = errors
    report.write(out, kept, console)
    lock.close()
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
