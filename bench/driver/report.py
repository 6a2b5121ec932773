"""From trials to a table. Medians over the repeats. Differences and ratios are taken inside each
repeat first, pair by pair: the machine drifts between repeats more than the proxies do."""

import json
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from driver.scenarios import Scenario

Trials = list[dict[str, Any]]


def middle(values: list[float | None]) -> float | None:
    """The median of what is there."""
    there = [value for value in values if value is not None]
    return median(there) if there else None


def shown(value: float | None, digits: int = 1, sign: bool = False) -> str:
    """A number for the table."""
    if value is None:
        return "–"
    return f"{value:{'+' if sign else ''},.{digits}f}"


def pairs(trials: Trials, contestant: str, other: str) -> list[tuple[Any, Any]]:
    """The trials of two contestants, repeat by repeat."""
    theirs = {t["repeat"]: t for t in trials if t["contestant"] == other}
    mine = [t for t in trials if t["contestant"] == contestant]
    return [(t, theirs[t["repeat"]]) for t in mine if t["repeat"] in theirs]


def ratio_to_floor(trials: Trials, contestant: str) -> float | None:
    """CPU per unit over the floor's in the same repeat."""
    found: list[float | None] = [
        mine["cpu_us_per_unit"] / floor["cpu_us_per_unit"]
        for mine, floor in pairs(trials, contestant, "floor")
        if mine["cpu_us_per_unit"] is not None and floor["cpu_us_per_unit"]
    ]
    return middle(found)


def added(trials: Trials, contestant: str, histogram: str, quantile: str) -> float | None:
    """Microseconds a contestant adds to direct, quantile against quantile, same repeat."""
    return middle(
        [
            mine["load"][histogram][quantile] - direct["load"][histogram][quantile]
            for mine, direct in pairs(trials, contestant, "direct")
            if mine["load"][histogram]["count"] and direct["load"][histogram]["count"]
        ]
    )


def summary(trials: Trials, contestant: str) -> dict[str, Any]:
    """One row, as the JSON file keeps it."""
    mine = [t for t in trials if t["contestant"] == contestant]
    cpu = [t["cpu_us_per_unit"] for t in mine if t["cpu_us_per_unit"] is not None]
    proxied = contestant != "direct"
    row: dict[str, Any] = {
        "contestant": contestant,
        "repeats": len(mine),
        "per_second": middle([t["per_second"] for t in mine]),
        "cpu_us_per_unit": middle(cpu) if proxied else None,
        "cpu_us_range": [min(cpu), max(cpu)] if cpu and proxied else None,
        "to_floor": ratio_to_floor(trials, contestant) if proxied else None,
        "waited": middle([t["waited"] for t in mine]) if proxied else None,
        "proxy_core": middle([t["proxy_core"] for t in mine]),
        "sleeps_per_unit": middle([t["sleeps_per_unit"] for t in mine]) if proxied else None,
        "user_share": middle([t["user_share"] for t in mine]),
        "pss_idle_mib": middle([t["memory_idle_kib"]["pss"] / 1024 for t in mine]),
        "pss_full_mib": middle([t["memory_full_kib"]["pss"] / 1024 for t in mine]),
        "rss_full_mib": middle([t["memory_full_kib"]["rss"] / 1024 for t in mine]),
        "pss_per_conn_kib": middle([t["pss_per_conn_kib"] for t in mine]),
        "anonymous_per_conn_kib": middle([t["anonymous_per_conn_kib"] for t in mine]),
        "descriptors": middle([t["descriptors"] for t in mine]),
        "success_rate": success_rate(mine),
        "failures": sum(t["load"]["failures"] for t in mine),
        "failures_by_kind": kinds(mine),
        "flags": sorted({flag for t in mine for flag in t["flags"]}),
    }
    for histogram in ("first_event_us", "delay_us", "answer_us"):
        for quantile in ("p50", "p90", "p99", "max"):
            key = f"{histogram.removesuffix('_us')}_{quantile}"
            row[f"{key}_us"] = middle([t["load"][histogram][quantile] for t in mine])
            row[f"{key}_added_us"] = added(trials, contestant, histogram, quantile)
    return row


def success_rate(trials: Trials) -> float | None:
    """Of all exchanges that ended in the windows."""
    good = sum(t["load"]["requests"] for t in trials)
    ended = good + sum(t["load"]["failures"] for t in trials)
    return good / ended if ended else None


def kinds(trials: Trials) -> dict[str, int]:
    """Failures of all repeats by kind."""
    found: dict[str, int] = {}
    for trial in trials:
        for kind, count in trial["load"]["failures_by_kind"].items():
            found[kind] = found.get(kind, 0) + count
    return found


def latency_columns(scenario: Scenario) -> list[tuple[str, str]]:
    """Heading and key of what is shown of latency."""
    if scenario.mode == "streams":
        wanted = [("first event", "first_event"), ("event", "delay")]
    elif scenario.mode == "idle":
        wanted = []
    else:
        wanted = [("answer", "answer")]
    return [
        (f"{head}\n{quantile} added, µs", f"{key}_{quantile}_added_us")
        for head, key in wanted
        for quantile in ("p50", "p99")
    ]


def table(scenario: Scenario, rows: list[dict[str, Any]]) -> Table:
    """One scenario."""
    loop = "" if scenario.paced else " (closed loop: rates differ)"
    out = Table(title=f"{scenario.name}{loop}", title_justify="left")
    latency = latency_columns(scenario)
    out.add_column("proxy", no_wrap=True)
    heads = [f"{scenario.unit}s/s"]
    if scenario.mode == "streams":
        heads += ["of them\n/caller"]
    heads += [f"µs CPU\n/{scenario.unit}", "range", "× floor", "core %"]
    heads.append(f"sleeps\n/{scenario.unit}")
    heads += [head for head, _ in latency]
    heads += ["PSS, MiB\nidle→full", "PSS/conn\nKiB", "own/conn\nKiB", "fds"]
    heads += ["ok %", "failures"]
    for head in heads:
        out.add_column(head, justify="right")
    for row in rows:
        out.add_row(row["contestant"], *cells(scenario, row, latency))
    return out


def cells(scenario: Scenario, row: dict[str, Any], latency: list[tuple[str, str]]) -> list[str]:
    """One row of the table."""
    proxied = row["contestant"] != "direct"
    low_high = row["cpu_us_range"]
    found = [shown(row["per_second"], 0)]
    if scenario.mode == "streams":
        found += [shown(row["per_second"] / scenario.conns, 2)]
    found += [
        shown(row["cpu_us_per_unit"], 2),
        f"{low_high[0]:,.1f}–{low_high[1]:,.1f}" if low_high else "–",
        shown(row["to_floor"], 2),
        shown(100 * row["proxy_core"]) if proxied else "–",
        shown(row["sleeps_per_unit"], 2),
    ]
    found += [shown(row[key], 0, sign=True) if proxied else "–" for _, key in latency]
    idle_full = f"{shown(row['pss_idle_mib'])}→{shown(row['pss_full_mib'])}"
    found += [idle_full if proxied else "–"]
    memory = ("pss_per_conn_kib", "anonymous_per_conn_kib")
    found += [shown(row[key]) if proxied else "–" for key in memory]
    failures = ", ".join(f"{count} {kind}" for kind, count in row["failures_by_kind"].items())
    rate = row["success_rate"]
    found += [shown(row["descriptors"], 0) if proxied else "–"]
    found += [shown(100 * rate, 2) if rate is not None else "–", failures or "0"]
    return found


def show(console: Console, scenario: Scenario, rows: list[dict[str, Any]]) -> None:
    """Print one scenario: the table, then every flag in full."""
    console.print(table(scenario, rows))
    for row in rows:
        for flag in row["flags"]:
            console.print(f"  ! {row['contestant']}: {flag}", style="bold yellow", highlight=False)
    direct = next((row for row in rows if row["contestant"] == "direct"), None)
    if direct and latency_columns(scenario):
        keys = [key.replace("_added", "") for _, key in latency_columns(scenario)]
        said = ", ".join(f"{key.removesuffix('_us')} {shown(direct[key], 0)} µs" for key in keys)
        console.print(f"  direct itself: {said}", highlight=False)


def write(path: Path, found: dict[str, Any], console: Console) -> None:
    """The JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1), encoding="utf-8")
    console.print(f"written: {path}", highlight=False)
