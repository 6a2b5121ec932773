"""From a results JSON to pictures. Each takes the scenarios it can show; none: no picture."""

from dataclasses import dataclass
from typing import Any

from driver.svg import Axis, Bar, Drawing, Line, chart, panel

JSON = dict[str, Any]
COLOURS = {
    "zeroproxy": "#d6336c",
    "floor": "#868e96",
    "nginx": "#2b8a3e",
    "haproxy": "#1971c2",
    "aiohttp": "#e8890c",
    "litellm": "#7048e8",
    "vllm-router": "#0b8289",
    "smg": "#8d6e46",
    "sglang-router": "#5c7cfa",
}
OTHER = "#adb5bd"
DOUBTS = {"SATURATED": "saturated", "DISTURBED": "disturbed", "proxy core full": "core full"}
GROWTH, SATURATION = "growth-", "saturation-"


@dataclass(frozen=True)
class Picture:
    """A file of its own, and a chapter of the page."""

    name: str
    title: str
    text: str  # SVG
    says: str  # how to read it


def colour_of(name: str) -> str:
    return COLOURS.get(name, COLOURS["zeroproxy"] if name.startswith("zeroproxy") else OTHER)


def doubts(row: JSON) -> str:
    """Remarks that a reader needs before comparing."""
    flags = " ".join(row["flags"])
    found = [said for word, said in DOUBTS.items() if word in flags]
    if row["failures"]:
        found.append(f"{row['failures']} failures")
    return ", ".join(found)


def plain(results: JSON) -> list[JSON]:
    """Scenarios that are no point of a curve."""
    return [
        s for s in results["scenarios"]
        if not s["scenario"]["name"].startswith((GROWTH, SATURATION))
    ]  # fmt: skip


def trials(results: JSON) -> str:
    """How many there were of each; files that are put together may differ."""
    counts = {row.get("repeats") for one in results["scenarios"] for row in one["rows"]} - {None}
    counts = counts or {results["repeats"]}
    return f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def subtitle(results: JSON) -> str:
    machine = results["machine"]
    commit = machine["commit"] + ("+" if machine.get("changed") else "")
    return (
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, commit {commit}; "
        f"median of {trials(results)} × {results['seconds']:g} s"
    )


def figure(value: float, digits: int = 1) -> str:
    return f"{value:,.{0 if abs(value) >= 100 else digits}f}"


def by_value(bars: list[Bar]) -> list[Bar]:
    return sorted(bars, key=lambda bar: bar.value)


# ---------------------------------------------------------------- bars


def cpu_bars(scenario: JSON) -> list[Bar]:
    bars = []
    for row in scenario["rows"]:
        value = row["cpu_us_per_unit"]
        if value is None:
            continue
        low, high = row["cpu_us_range"]
        said = figure(value)
        if row["to_floor"] is not None:
            said += f" · {figure(row['to_floor'], 2)} × floor"
        name, doubt = row["contestant"], doubts(row)
        said += f" · {doubt}" if doubt else ""
        bars.append(Bar(name, value, low, high, said, colour_of(name), bool(doubt)))
    return by_value(bars)


def cpu(results: JSON) -> Picture | None:
    drawing = Drawing("CPU time per unit relayed, µs", subtitle(results))
    shown = 0
    for one in plain(results):
        scenario, bars = one["scenario"], cpu_bars(one)
        if scenario["unit"] == "second" or not bars:
            continue
        panel(drawing, f"{scenario['name']}: µs per {scenario['unit']}", bars)
        shown += 1
    says = (
        "User and system time of the whole process tree. The black line is the spread of the "
        "repeats. Saturated contestants coalesce events and look cheaper than they are."
    )
    return Picture("cpu", "CPU per unit", drawing.text(), says) if shown else None


def delay_keys(scenario: JSON) -> tuple[str, str]:
    return ("delay", "event") if scenario["mode"] == "streams" else ("answer", "answer")


def delay_bars(one: JSON) -> list[Bar]:
    """p99 with its p50 written beside it; a value below zero is drawn as zero."""
    key, _ = delay_keys(one["scenario"])
    bars = []
    for row in one["rows"]:
        p50, p99 = row[f"{key}_p50_added_us"], row[f"{key}_p99_added_us"]
        if row["contestant"] == "direct" or p99 is None:
            continue
        name, doubt = row["contestant"], doubts(row)
        said = f"{p99 / 1e3:+.2f} · p50 {p50 / 1e3:+.2f}" + (f" · {doubt}" if doubt else "")
        value = max(p99 / 1e3, 0.0)
        bars.append(Bar(name, value, value, value, said, colour_of(name), bool(doubt)))
    return by_value(bars)


def delay(results: JSON) -> Picture | None:
    drawing = Drawing("Delay added to direct, p99, ms", subtitle(results))
    shown = 0
    for one in plain(results):
        bars = delay_bars(one)
        if one["scenario"]["mode"] == "idle" or not bars:
            continue
        panel(drawing, f"{one['scenario']['name']}: per {delay_keys(one['scenario'])[1]}", bars)
        shown += 1
    says = (
        "The contestant's quantile less direct's quantile of the same repeat. Within a millisecond "
        "it is noise on a shared or virtual machine."
    )
    return Picture("delay", "Added delay", drawing.text(), says) if shown else None


def memory(results: JSON) -> Picture | None:
    drawing = Drawing("Memory per conn under full load, KiB of PSS", subtitle(results))
    shown = 0
    for one in plain(results):
        if one["scenario"]["mode"] not in ("streams", "idle"):
            continue
        bars = []
        for row in one["rows"]:
            value = row["pss_per_conn_kib"]
            if row["contestant"] == "direct" or value is None:
                continue
            said = f"{value:.1f} · {row['pss_full_mib']:.0f} MiB in all"
            name, value = row["contestant"], max(value, 0.0)
            bars.append(Bar(name, value, value, value, said, colour_of(name)))
        if bars:
            panel(drawing, f"{one['scenario']['name']}: {one['scenario']['conns']} conns",
                  by_value(bars))  # fmt: skip
            shown += 1
    says = (
        "What the process tree grew by since it was idle, per conn. The kernel's memory for "
        "sockets is not in it."
    )
    return Picture("memory", "Memory", drawing.text(), says) if shown else None


# ---------------------------------------------------------------- lines


def curve(results: JSON, prefix: str, x: str, y: str) -> list[Line]:
    """One line per contestant through the scenarios of a group; x may be a scenario's word."""
    found: dict[str, list[tuple[float, float]]] = {}
    for one in results["scenarios"]:
        scenario = one["scenario"]
        if not scenario["name"].startswith(prefix):
            continue
        for row in one["rows"]:
            at, value = scenario.get(x, row.get(x)), row.get(y)
            if row["contestant"] != "direct" and at and value is not None:
                found.setdefault(row["contestant"], []).append((float(at), float(value)))
    return [
        Line(name, sorted(points) if x == "conns" else points, colour_of(name))
        for name, points in found.items()
        if len(points) > 1
    ]


def saturation(results: JSON) -> Picture | None:
    """Delays at or below nothing are drawn as 10 µs: the axis is logarithmic."""
    found = curve(results, SATURATION, "per_second", "delay_p99_added_us")
    lines = [
        Line(line.name, [(x, max(y / 1e3, 0.01)) for x, y in line.points], line.colour)
        for line in found
    ]
    if not lines:
        return None
    drawing = Drawing("Until it cannot keep up", subtitle(results))
    chart(drawing, Axis("events per second, delivered"),
          Axis("added delay of an event, p99, ms", is_log=True), lines)  # fmt: skip
    says = (
        "Each point is a load with more exchanges than the one before. Where a line bends back, "
        "its contestant delivers less the more is asked of it."
    )
    return Picture("saturation", "Saturation", drawing.text(), says)


def growth(results: JSON) -> list[Picture]:
    found = []
    views = (
        ("cpu", "CPU per event by open exchanges, µs", "cpu_us_per_unit", 1.0),
        ("memory", "Memory by open exchanges, MiB of PSS", "pss_full_mib", 1.0),
    )
    for name, title, key, factor in views:
        lines = [
            Line(line.name, [(x, y * factor) for x, y in line.points], line.colour)
            for line in curve(results, GROWTH, "conns", key)
        ]
        if not lines:
            continue
        drawing = Drawing(title, subtitle(results))
        chart(drawing, Axis("open exchanges"), Axis(title.rpartition(", ")[2]), lines)
        says = "All points at the same number of events per second, dealt out to more exchanges."
        found.append(Picture(f"growth-{name}", title.partition(",")[0], drawing.text(), says))
    return found


def all_pictures(results: JSON) -> list[Picture]:
    bars = [cpu(results), delay(results), memory(results), saturation(results)]
    return [*(one for one in bars if one), *growth(results)]
