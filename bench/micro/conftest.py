"""`cost(who, work, units)`: time `work()`, which does `units` units, and put what one takes into
the table at the end. The rows of a group share a docstring; ratios are to its row `zeroproxy`."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

ROUNDS = 30
WIDTH = 110
OURS = "zeroproxy"


@dataclass(frozen=True)
class Row:
    """Nanoseconds per unit."""

    group: str
    who: str
    best: float
    middle: float


ROWS: list[Row] = []


@pytest.fixture
def cost(benchmark: Any, request: pytest.FixtureRequest) -> Callable[..., None]:
    """Note: what is compared in a group does the same work on the same bytes."""

    def measure(who: str, work: Callable[..., object], units: float, setup: Any = None) -> None:
        group = request.function.__doc__ or request.function.__name__
        benchmark.group = group
        benchmark.pedantic(work, setup=setup, rounds=ROUNDS, warmup_rounds=2)
        seconds = benchmark.stats.stats.data
        ROWS.append(Row(group, who, min(seconds) * 1e9 / units, median(seconds) * 1e9 / units))

    return measure


def pytest_terminal_summary() -> None:
    table = Table("per unit", "who", "best, ns", "median, ns", "× ours")
    for column in table.columns[2:]:
        column.justify = "right"
    for group in dict.fromkeys(row.group for row in ROWS):
        rows = [row for row in ROWS if row.group == group]
        ours = next((row.middle for row in rows if row.who == OURS), None)
        for row in rows:
            ratio = f"{row.middle / ours:,.1f}" if ours else ""
            name = group if row is rows[0] else ""
            figures = (f"{row.best:,.1f}", f"{row.middle:,.1f}", ratio)
            table.add_row(name, row.who, *figures, end_section=row is rows[-1])
    if ROWS:
        Console(width=WIDTH).print(table)
