"""/status for people: one line about the proxy, one row for each endpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

Status = dict[str, Any]


def span(seconds: float) -> str:
    """A span of time in its two largest units: "3 d 4 h"."""
    left = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if left >= size or (unit == "s" and not parts):
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2])


def summary(status: Status) -> Text:
    """Version, phase, age, load: one line."""
    upstreams = status["upstreams"]
    inflight = sum(upstream["inflight"] for upstream in upstreams)
    queued = sum(upstream["queued"] + upstream["waiting"] for upstream in upstreams)
    style = "green" if status["phase"] == "serving" else "yellow"
    return Text.assemble(
        f"zeroproxy {status['version']}  ", (status["phase"], style),
        f"  up {span(status['uptime_s'])}  callers {status['connections']['downstream']:,}"
        f"  in flight {inflight:,}  waiting {queued:,}",
    )  # fmt: skip


def state_of(endpoint: Status) -> Text:
    """The state of an endpoint in one word; if requests do not go there, with the reason."""
    if endpoint["draining"]:
        return Text("draining", "yellow")
    health, breaker = endpoint["health"], endpoint["breaker"]["state"]
    if not endpoint["up"]:
        reason = health["reason"] if health else ""
        return Text(f"down: {reason}" if reason else "down", "red")
    if breaker != "closed":
        style = "red" if breaker == "open" else "yellow"
        return Text(f"breaker {breaker.replace('_', ' ')}", style)
    return Text("up", "green")


def endpoints_of(status: Status) -> Iterator[tuple[Status, Status]]:
    """(upstream, endpoint) of each."""
    for upstream in status["upstreams"]:
        for endpoint in upstream["endpoints"]:
            yield upstream, endpoint


def new_table(columns: Iterable[tuple[str, bool]]) -> Table:
    """A table without lines; (heading, true for a number)."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for heading, is_number in columns:
        table.add_column(heading, justify="right" if is_number else "left", overflow="fold")
    return table


def endpoints_table(status: Status) -> Table:
    table = new_table([
        ("upstream", False), ("endpoint", False), ("state", False), ("in flight", True),
        ("limit", True), ("connections", True), ("idle", True), ("failures", True),
    ])  # fmt: skip
    for upstream, endpoint in endpoints_of(status):
        table.add_row(
            Text(upstream["name"]), Text(endpoint["url"]), state_of(endpoint),
            f"{endpoint['inflight']:,}", f"{endpoint['limit']:,}" if endpoint["limit"] else "–",
            f"{endpoint['connections']:,}", f"{endpoint['idle']:,}", f"{endpoint['failures']:,}",
        )  # fmt: skip
    return table
