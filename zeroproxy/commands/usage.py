"""`zeroproxy usage`: what the ledger counted, as a table, JSON or CSV.

Exit status: 0 also where there is nothing to show, 1 if there is no ledger, 2 for a bad question.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zeroproxy.errors import UsageError, ZeroproxyError, one_line
from zeroproxy.metering.report.arguments import (
    FILTERS,
    GROUPS,
    MOMENTS,
    QueryError,
    parse_query,
)
from zeroproxy.metering.report.ledger_sums import Key, Report, Sums, label_of, usage

# Columns that a long key keeps before figures are left out; the rest of it is folded. Keys share
# half the width, so that many of them do not push out the figures.
KEY_WIDTH, LEAST_KEY_WIDTH = 24, 8
GAP = 2  # between two columns
WIDE = 1000  # where the output is no terminal, nothing is left out

#: Columns, in the order of the table.
COLUMNS = (
    "requests", "failed", "prompt", "completion", "cached", "reasoning", "total", "exact", "TTFT",
)  # fmt: skip

#: Columns that a narrow terminal goes without, the first first.
SPARE = ("reasoning", "cached", "total", "TTFT", "failed", "prompt", "completion")

NOTES = {
    "lower_bound": "lower bound (≥): {} cut or never asked for usage, {} of the tokens",
    "untrusted": "untrusted: {} by servers that count wrongly, {} of the tokens",
    "uncounted": "generated, not counted: {} broken off before any count came",
    "none": "nothing counted: {} without tokens in the answer",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ledger", metavar="PATH", help="the ledger, instead of metering.ledger")
    parser.add_argument("--by", metavar="GROUP,...", help=f"{', '.join(GROUPS)} (default: model)")
    parser.add_argument("--since", metavar="WHEN", help=f"{MOMENTS}; default: all there is")
    parser.add_argument("--until", metavar="WHEN", help="the same; default: now")
    for name in FILTERS:
        parser.add_argument(f"--{name}", metavar="NAME", help=f"only this {name}")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object")
    form.add_argument("--csv", action="store_true", help="CSV (RFC 4180) with a header")


def ledger_path(args: argparse.Namespace) -> str:
    """--ledger, or the configuration's. Raises ConfigError or ZeroproxyError."""
    if args.ledger is not None:
        return str(args.ledger)
    from zeroproxy.commands.source import source_of

    source = source_of(args)
    if source is None:
        raise UsageError("usage: -c FILE or --ledger PATH is needed")
    path = source.load().metering.ledger
    if not path:
        raise ZeroproxyError(
            f"{one_line(source.path)}: no ledger is kept (metering.ledger is empty); "
            "--ledger PATH reads another"
        )
    return str(path)


# ---------------------------------------------------------------- cells


def key_cell(name: str, key: Key) -> Text:
    if isinstance(key, str):
        return Text(one_line(key)) if key else Text(f"(no {name})", "dim")
    return Text(label_of(key) if isinstance(key, datetime) else key.isoformat())


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds:,.2f} s" if seconds >= 1 else f"{seconds * 1e3:.0f} ms"


def percent(share: float | None) -> str:
    """In tenths, cut off: only the whole is 100 %, and only nothing is 0 %."""
    if share is None:
        return "–"
    tenths = int(share * 1000)
    if share and not tenths:
        return "< 0.1 %"
    return f"{tenths // 10} %" if tenths in (0, 1000) else f"{tenths / 10:.1f} %"


def cells(sums: Sums) -> dict[str, Text]:
    bound = "≥" if sums.requests_by["lower_bound"] else ""

    def tokens(count: int) -> Text:
        return Text.assemble((bound, "yellow"), f"{count:,}")

    return {
        "requests": Text(f"{sums.requests:,}"),
        "failed": Text(f"{sums.failed:,}", "red" if sums.failed else ""),
        "prompt": tokens(sums.prompt_tokens),
        "completion": tokens(sums.completion_tokens),
        "cached": tokens(sums.cached_tokens),
        "reasoning": tokens(sums.reasoning_tokens),
        "total": tokens(sums.total_tokens),
        "exact": Text(percent(sums.share("exact"))),
        "TTFT": Text(duration(sums.mean_ttft_s)),
    }


# ---------------------------------------------------------------- the table


def window_text(report: Report) -> str:
    """`since … until …` in local time; without a bound that was not set."""
    query = report.query
    since = query.since or report.first
    parts = [f"since {label_of(since.astimezone())}"] if since else []
    parts += [f"until {label_of(query.until.astimezone())}"] if query.until else []
    return " ".join(parts)


def filter_text(report: Report) -> str:
    return "".join(f", {name} {one_line(value)}" for name, value in report.query.filters.items())


def columns_that_fit(widths: dict[str, int], available: int) -> list[str]:
    """Names of figures, without those that are spared; `widths` include the gap before each."""
    kept = list(widths)
    for name in SPARE:
        if sum(widths[n] for n in kept) <= available:
            break
        kept.remove(name)
    return kept


def widths_of(figures: list[dict[str, Text]]) -> dict[str, int]:
    return {n: GAP + max(len(n), *(each[n].cell_len for each in figures)) for n in COLUMNS}


def make_table(report: Report, width: int) -> tuple[Table, list[str]]:
    """The table and the names of the columns that did not fit."""
    by, totals = report.query.by, cells(report.totals)
    keys = [[key_cell(n, k) for n, k in zip(by, row.keys, strict=True)] for row in report.rows]
    figures = [cells(row.sums) for row in report.rows]
    available = max(LEAST_KEY_WIDTH, min(KEY_WIDTH, width // 2 // len(by) - GAP))
    wanted = [
        min(available, max(len(name), len("total"), *(row[k].cell_len for row in keys)))
        for k, name in enumerate(by)
    ]
    widths = widths_of([*figures, totals])
    kept = columns_that_fit(widths, width - sum(wanted) - GAP * (len(by) - 1))
    # The box puts one space between columns, the padding the other.
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, GAP - 1, 0, 0))
    for name, least in zip(by, wanted, strict=True):
        table.add_column(name, overflow="fold", min_width=least)
    for name in kept:
        table.add_column(name, justify="right", no_wrap=True, min_width=widths[name] - GAP)
    for row, each in zip(keys, figures, strict=True):
        table.add_row(*row, *(each[name] for name in kept))
    table.add_section()
    blank = [Text()] * (len(by) - 1)
    table.add_row(Text("total"), *blank, *(totals[name] for name in kept), style="bold")
    return table, [name for name in COLUMNS if name not in kept]


def note_lines(report: Report, missing: list[str]) -> list[str]:
    totals, lines = report.totals, []
    for exactness, note in NOTES.items():
        if count := totals.requests_by[exactness]:
            requests = f"{count:,} request{'s' if count > 1 else ''}"
            lines.append(note.format(requests, percent(totals.share(exactness))))
    lines += report.notes
    if missing:
        lines.append(f"no room for {', '.join(missing)}: a wider terminal, --json or --csv shows")
    return lines


def print_table(console: Console, report: Report) -> None:
    window, picked = window_text(report), filter_text(report)
    if not report.rows:
        begins = f"; the ledger begins at {label_of(report.first)}" if report.first else ""
        if report.query.since is None and report.query.until is None and not report.first:
            window, begins = "in the ledger yet", ""
        console.print(Text(f"no exchanges {window}{picked}{begins}"), soft_wrap=True)
        return
    table, missing = make_table(report, console.width)
    console.print(Text(f"usage by {', '.join(report.query.by)} {window}{picked}"))
    console.print()
    console.print(table)
    lines = note_lines(report, missing)
    if lines:
        console.print()
    for line in lines:
        console.print(Text(line, "dim"))


# ---------------------------------------------------------------- the command


def make_console() -> Console:
    """As wide as the terminal; a pipe or a file gets every column, unless COLUMNS is less."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may not know "≥"
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE
    return console


def show(report: Report, args: argparse.Namespace, now: datetime) -> None:
    if args.json:
        import orjson

        from zeroproxy.metering.report.formats import as_object

        found: Any = as_object(report, now)
        sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")
    elif args.csv:
        from zeroproxy.metering.report.formats import as_csv

        sys.stdout.write(as_csv(report))
    else:
        print_table(make_console(), report)
    sys.stdout.flush()


def run(args: argparse.Namespace) -> int:
    """Raises ConfigError and ZeroproxyError."""
    now = datetime.now(UTC)
    try:
        report = usage(ledger_path(args), parse_query(vars(args), now))
    except QueryError as error:
        print(f"zeroproxy: --{error}", file=sys.stderr)
        return 2
    show(report, args, now)
    return 0
