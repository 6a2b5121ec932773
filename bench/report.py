"""Pictures and one page from results: python bench/report.py RESULTS.json [...] -o FOLDER

Several files of one machine and commit are put together; of a scenario that is in more than one,
the last is taken. `make bench-pictures` writes docs/bench.
"""

import argparse
import json
import sys
from html import escape
from pathlib import Path
from typing import Any

from driver.pictures import Picture, all_pictures, doubts

STYLE = """\
body{font:15px/1.5 system-ui,sans-serif;color:#1f2933}
body{max-width:900px;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;font-size:13px;margin:.5rem 0 1.5rem}
th,td{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #e3e8ee}
th:first-child,td:first-child{text-align:left}td.doubt{color:#b4540a;text-align:left}
svg{max-width:100%;height:auto}p.says{color:#66727f}
"""
COLUMNS = (
    ("events or requests/s", "per_second", 0),
    ("µs CPU", "cpu_us_per_unit", 2),
    ("× floor", "to_floor", 2),
    ("PSS MiB", "pss_full_mib", 1),
    ("PSS/conn KiB", "pss_per_conn_kib", 1),
    ("descriptors", "descriptors", 0),
    ("failures", "failures", 0),
)


def read(paths: list[Path]) -> dict[str, Any]:
    """All results as one. Different machines or commits are not put together."""
    found: dict[str, Any] = {}
    scenarios: dict[str, Any] = {}
    for path in paths:
        one = json.loads(path.read_text(encoding="utf-8"))
        if "scenarios" not in one:
            sys.exit(f"{path}: no results of bench/run.py")
        for fact in ("cpu", "kernel", "commit"):
            if found and found["machine"][fact] != one["machine"][fact]:
                sys.exit(f"{path}: another {fact} than {paths[0]}: not comparable")
        found = found or one
        for key in ("repeats", "seconds"):
            found[key] = min(found[key], one[key])
        scenarios |= {s["scenario"]["name"]: s for s in one["scenarios"]}
    return {**found, "scenarios": list(scenarios.values())}


def cell(value: Any, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def table(one: dict[str, Any]) -> str:
    """The figures of one scenario."""
    head = "".join(f"<th>{name}</th>" for name, _, _ in COLUMNS)
    rows = []
    for row in one["rows"]:
        cells = "".join(f"<td>{cell(row[key], digits)}</td>" for _, key, digits in COLUMNS)
        rows.append(
            f"<tr><td>{escape(row['contestant'])}</td>{cells}"
            f"<td class='doubt'>{escape(doubts(row))}</td></tr>"
        )
    return f"<table><tr><th></th>{head}<th></th></tr>{''.join(rows)}</table>"


def page(results: dict[str, Any], pictures: list[Picture]) -> str:
    """Everything in one file, so that it can be sent."""
    machine = results["machine"]
    versions = ", ".join(f"{name}: {said}" for name, said in machine["versions"].items())
    parts = [
        "<!doctype html><meta charset='utf-8'><title>zeroproxy: what relaying costs</title>",
        f"<style>{STYLE}</style><h1>What relaying costs, side by side</h1>",
        f"<p>{escape(machine['cpu'])}, {machine['cores']} cores, Linux {escape(machine['kernel'])},"
        f" commit {escape(machine['commit'])}. {escape(versions)}.</p>",
        "<p>How it was measured: bench/README.md. Compare within one picture only.</p>",
    ]
    for picture in pictures:
        parts += [f"<h2>{escape(picture.title)}</h2>", picture.text]
        parts.append(f"<p class='says'>{escape(picture.says)}</p>")
    parts.append("<h2>Figures</h2>")
    for one in results["scenarios"]:
        parts += [f"<h3>{escape(one['scenario']['name'])}</h3>", table(one)]
    return "\n".join(parts) + "\n"


def main() -> int:
    """1 if there is nothing to draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULTS.json")
    parser.add_argument("-o", "--out", type=Path, required=True, help="a folder")
    parser.add_argument("--no-page", action="store_true", help="the pictures only")
    options = parser.parse_args()
    results = read(options.results)
    pictures = all_pictures(results)
    options.out.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        path = options.out / f"{picture.name}.svg"
        path.write_text(picture.text, encoding="utf-8")
        print(f"written: {path}")
    if not options.no_page:
        path = options.out / "report.html"
        path.write_text(page(results, pictures), encoding="utf-8")
        print(f"written: {path}")
    return 0 if pictures else 1


if __name__ == "__main__":
    sys.exit(main())
