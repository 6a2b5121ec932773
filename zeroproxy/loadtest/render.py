"""Output for people: progress on standard error, tables on standard output."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from zeroproxy.loadtest.loop import Slice
from zeroproxy.loadtest.results_json import QUANTILES

LINE_EVERY = 5.0  # seconds, where standard error is no terminal
DRAW_EVERY = 0.5
CROWDED = 0.05  # of the time
BUSY = 0.8  # of a core; above that this program's own work is in the times
OWN_WORK = (
    "this program was busy with itself, and its own work is in these times: "
    "ask for fewer at once, or run several of it"
)
CROWD = "this program waited {:.0%} of the time for a core that others were on: times are too long"
NAMES = {
    "ttft_s": "TTFT",
    "gap_s": "between events",
    "per_token_s": "per token",
    "total_s": "whole answer",
}
TABLE = {"box": box.SIMPLE_HEAD, "pad_edge": False, "show_edge": False}


def duration(seconds: float | None, sign: bool = False) -> str:
    if seconds is None:
        return "–"
    plus = "+" if sign else ""
    if abs(seconds) >= 10:
        return f"{seconds:{plus}.1f} s"
    return f"{seconds * 1e3:{plus},.{1 if abs(seconds) >= 0.1 else 2}f} ms"


def number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


# ---------------------------------------------------------------- progress


class Progress:
    """Figures of the slice under way."""

    def __init__(self, console: Console, total: int) -> None:
        self.console, self.total, self.slice_number = console, total, 0
        self.piece: Slice | None = None

    def watch(self, piece: Slice) -> None:
        self.piece, self.slice_number = piece, self.slice_number + 1

    def line(self) -> Text:
        piece = self.piece
        if piece is None:
            return Text("")
        tally, load = piece.tally, piece.load
        spent = time.perf_counter() - piece.begun if piece.begun else 0.0
        state = "finishing" if piece.closing.is_set() else f"{spent:.0f}/{load.seconds:.0f} s"
        parts = [
            f"{self.slice_number}/{self.total}",
            piece.target.name,
            f"{load.concurrency} at once",
        ]
        parts += [state, f"{tally.open} open", f"{tally.answered} answered"]
        if piece.ask.streams:
            parts.append(f"TTFT {duration(tally.times['ttft'].quantile(0.5))}")
            parts.append(f"{tally.texts / max(spent, 0.1):,.0f} events/s")
        line = Text(" · ".join(parts))
        if tally.failed:
            kinds = ", ".join(f"{n} {kind}" for kind, n in tally.failures.most_common(3))
            line.append(f" · failed: {kinds}", "red")
        return line

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._draw() if self.console.is_terminal else self._print())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _draw(self) -> None:
        with Live(console=self.console, auto_refresh=False, transient=True) as live:
            while True:
                live.update(self.line(), refresh=True)
                await asyncio.sleep(DRAW_EVERY)

    async def _print(self) -> None:
        while True:
            await asyncio.sleep(LINE_EVERY)
            self.console.print(self.line(), soft_wrap=True)


# ---------------------------------------------------------------- results


def single(side: dict[str, Any]) -> Table:
    table = Table(**TABLE)  # type: ignore[arg-type]
    table.add_column("")
    for quantile in QUANTILES:
        table.add_column(quantile, justify="right")
    for key, name in NAMES.items():
        if side[key]["count"]:
            table.add_row(name, *(duration(side[key][quantile]) for quantile in QUANTILES))
    return table


def beside(run: dict[str, Any]) -> Table:
    """Two sides, with the second over the first and what it has more."""
    table = Table(**TABLE)  # type: ignore[arg-type]
    table.add_column("")
    first, second = run["sides"]
    for head in (first["url"], second["url"], "ratio", "difference"):
        table.add_column(head, justify="right", overflow="fold")
    for key, name in NAMES.items():
        for quantile in QUANTILES:
            found = run["compared"].get(f"{key}.{quantile}")
            if found:
                cells = [duration(side[key][quantile]) for side in (first, second)]
                cells += [ratio(found["ratio"]), duration(found["difference"], sign=True)]
                table.add_row(f"{name} {quantile}", *cells, end_section=quantile == "max")
    for key, name in (("tokens_per_s", "tokens/s"), ("answers_per_s", "answers/s")):
        if found := run["compared"].get(key):
            table.add_row(name, number(first[key]), number(second[key]), ratio(found["ratio"]), "")
    return table


def ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def sentence(side: dict[str, Any]) -> Text:
    """Counts and rates of one side."""
    by = f" (by {side['tokens_by']})" if side["tokens_by"] else ""
    line = Text(f"{side['answered']:,} of {side['asked']:,} answered")
    if side["tokens_per_s"] is not None:
        line.append(f" · {number(side['tokens_per_s'])} tokens/s{by}")
    line.append(f" · {number(side['answers_per_s'])} answers/s")
    if side["abandoned"]:
        line.append(f" · {side['abandoned']} given up", "yellow")
    if side["own_core"] is not None:
        line.append(f" · own core {100 * side['own_core']:.0f} %", "dim")
    return line


def warnings(side: dict[str, Any]) -> list[Text]:
    found = []
    for kind, count in side["failures"].items():
        message = side["said"].get(kind)
        found.append(Text(f"failed: {count:,} {kind}" + (f": {message}" if message else ""), "red"))
    if (side["own_core"] or 0) > BUSY:
        found.append(Text(OWN_WORK, "bold yellow"))
    if (side["own_waited"] or 0) > CROWDED:
        found.append(Text(CROWD.format(side["own_waited"]), "bold yellow"))
    return found


def show_run(console: Console, run: dict[str, Any]) -> None:
    sides = run["sides"]
    console.print(Text(f"{run['concurrency']} at once", "bold"))
    for side in sides:
        name = f"{side['url']}, {side['model']}: " if len(sides) > 1 else f"{side['model']}: "
        console.print(Text(name) + sentence(side), soft_wrap=True)
        for line in warnings(side):
            console.print(line, soft_wrap=True)
    if any(side["total_s"]["count"] or side["ttft_s"]["count"] for side in sides):
        console.print()
        console.print(beside(run) if len(sides) == 2 else single(sides[0]))
    console.print()
