"""The regression gate: `make bench-check`.

Instructions of the data plane per event and per request (callgrind, user space) against
bench/baseline.json: more than the growth it allows fails. They hardly move with the machine or its
load; what Python does beside it (the ledger, health) is not in them. And CPU time over the floor's,
taken in turns (turns.py), against the bounds in the same file: a median above one fails. Exit
status: 0 within all bounds, 1 beyond one, 2 nothing could be measured.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from driver import machine
from driver.contestants import BY_NAME
from driver.processes import raise_nofile
from driver.programs import BENCH
from rich.console import Console
from rich.table import Table

BASELINE = BENCH / "baseline.json"
RUN, TURNS = BENCH / "run.py", BENCH / "turns.py"
#: Contestant that is held against the ratio bounds: as users run it, with metering and the ledger.
GATED = "zeroproxy"
NOTHING_SAID = 2
WIDTH = 100


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    add = parser.add_argument
    add("--update", action="store_true", help="what is measured now becomes the baseline")
    add("--no-ratios", action="store_true", help="instructions only: three minutes, not fifteen")
    add("--from", dest="results", type=Path, metavar="JSON", help="ratios that turns.py has taken")
    add("--no-callgrind", action="store_true", help="ratios only")
    add("--rounds", type=int, default=20, help="of turns: default 20")
    return parser.parse_args()


def measured(program: Path, *words: str) -> dict[str, Any]:
    """Figures of a program of the bench with these options."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        out = Path(folder) / "found.json"
        done = subprocess.run(
            [sys.executable, str(program), *words, "--out", str(out)], check=False
        )
        if not out.exists() or done.returncode:
            sys.exit(NOTHING_SAID)
        return dict(json.loads(out.read_text(encoding="utf-8")))


def instructions(names: list[str]) -> dict[str, dict[str, float]]:
    """{contestant: {unit: instructions}}"""
    rows = measured(RUN, "--callgrind", "--plane", "--contestants", ",".join(names))["rows"]
    units = ("event", "request")
    return {row["contestant"]: {unit: row[f"per_{unit}"] for unit in units} for row in rows}


def made_here() -> dict[str, Any]:
    """Versions that an instruction count depends on beside the sources."""
    facts = machine.facts(raise_nofile())
    found = {name: facts[name] for name in ("cpu", "python", "compiler", "commit", "changed")}
    found["valgrind"] = machine.first_line("valgrind", "--version")
    return found


def compare_instructions(
    table: Table, baseline: dict[str, Any], found: dict[str, dict[str, float]]
) -> int:
    """Rows of the table; returns how many grew too much."""
    beyond = 0
    allowed = baseline["allowed_growth"]
    for name, units in found.items():
        for unit, now in units.items():
            before = baseline["instructions"][name][unit]
            is_beyond = now > before * (1 + allowed)
            beyond += is_beyond
            words = [
                f"{before:,.0f}",
                f"{now:,.0f}",
                f"{now / before - 1:+.1%}",
                f"≤ {allowed:+.0%}",
            ]
            table.add_row(f"{name}: instructions/{unit}", *words, verdict(is_beyond))
    return beyond


def compare_ratios(table: Table, baseline: dict[str, Any], results: dict[str, Any]) -> int:
    """The same of CPU over the floor's. A scenario that was not measured is beyond its bound."""
    rows = {
        (one["scenario"], row["contestant"]): row
        for one in results["scenarios"]
        for row in one["rows"]
    }
    beyond = 0
    for scenario, bound in baseline["ratio_bounds"].items():
        row = rows.get((scenario, GATED))
        is_beyond = row is None or row["ratio"] > bound
        beyond += is_beyond
        shown = f"{row['ratio']:.3f}" if row else "not measured"
        spread = "–".join(f"{value:.2f}" for value in row["ratio_95"]) if row else ""
        table.add_row(f"{scenario}: × floor", "", shown, spread, f"≤ {bound}", verdict(is_beyond))
    return beyond


def verdict(is_beyond: bool) -> str:
    """The last column."""
    return "[bold red]BEYOND[/]" if is_beyond else "[green]ok[/]"


def load_baseline() -> dict[str, Any]:
    """The file; it has to be there, also for --update: its bounds are decisions."""
    try:
        return dict(json.loads(BASELINE.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        print(f"bench/baseline.json: {error}", file=sys.stderr)
        sys.exit(NOTHING_SAID)


def update(baseline: dict[str, Any], found: dict[str, dict[str, float]]) -> None:
    """Write what was found; the bounds stay."""
    baseline["made"] = made_here()
    baseline["instructions"] = {
        name: {unit: round(count) for unit, count in units.items()} for name, units in found.items()
    }
    BASELINE.write_text(json.dumps(baseline, indent=2) + "\n", encoding="utf-8")


def say_what_differs(console: Console, baseline: dict[str, Any]) -> None:
    """A count of another compiler or interpreter is no regression."""
    here = made_here()
    for name in ("cpu", "python", "compiler", "valgrind"):
        if here[name] != baseline["made"][name]:
            line = f"other {name}: baseline {baseline['made'][name]}, here {here[name]}"
            console.print(line, style="yellow", highlight=False)


def main() -> int:
    """The exit status."""
    options, console = parse(), Console(width=WIDTH)
    baseline = load_baseline()
    table = Table("", "baseline", "now", "difference", "bound", "", width=WIDTH)
    beyond = 0
    if not options.no_callgrind:
        if not shutil.which("valgrind"):
            print("instructions are counted by valgrind, which is not installed", file=sys.stderr)
            return NOTHING_SAID
        names = [name for name in baseline["instructions"] if not BY_NAME[name].missing()]
        found = instructions(names)
        say_what_differs(console, baseline)
        beyond += compare_instructions(table, baseline, found)
        if options.update:
            update(baseline, found)
    if options.results:
        results = json.loads(options.results.read_text(encoding="utf-8"))
        beyond += compare_ratios(table, baseline, results)
    elif not options.no_ratios and not options.update:
        words = ["--only", ",".join(baseline["ratio_bounds"]), "--rounds", str(options.rounds)]
        results = measured(TURNS, *words, "--contestants", f"floor,{GATED}")
        beyond += compare_ratios(table, baseline, results)
    console.print(table)
    if options.update and not options.no_callgrind:
        console.print(f"written: {BASELINE}", highlight=False)
        return 0
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
