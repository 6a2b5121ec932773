"""A real inference server under load, directly and through zeroproxy, in turns. Figures: what the
proxy adds, what it computes, and whether its ledger has the tokens that the server counted.

usage: python -m bench.inference --model NAME [--url URL | --server COMMAND] [--concurrency 1,64]
With --server the command is started, awaited and ended; else the server at --url is taken, and
--pid names the process whose CPU time is the server's. The server must publish its counts as
Prometheus text.

Law 1. The load is `zeroproxy bench`, several of it where one would be its own limit. Each repeat
       runs directly and through the proxy, the next one the other way round. Figures are medians
       over repeats and processes, beside them the least and the most of the repeats. The JSON has
       times in seconds and CPU in microseconds.
Law 2. Nobody else may use the server: its counters before and after a turn are the turn's.
Law 3. A turn through the proxy begins when the proxy has the server in rotation. One that a direct
       turn kept too busy to answer probes is out for a moment. The JSON has the time waited.
Exit status 1: a request failed, or a count of whole answers differs from the server's.
Tests: tests/e2e/test_bench_inference.py.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.inference_load import (
    FIGURES,
    GENERATED,
    LEAVE_AFTER,
    LEAVERS,
    PROMPT,
    RATES,
    Bench,
    all_leave,
    cores,
    counting,
    cpu_seconds,
    load,
    on_cores,
    server,
    serves,
)
from tests.support.proxy_process import ProxyProcess, upstream_toml
from zeroproxy._version import __version__
from zeroproxy.loadtest.results_json import machine

SIDES = ("direct", "proxied")
COUNTERS = "vllm:prompt_tokens_total,vllm:generation_tokens_total"
#: Further traffic through the proxy, only counted: a name, its path where it is not the usual one,
#: and options of `zeroproxy bench`.
COUNTED: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("streams that ask for no usage", "", ("--no-usage",)),
    ("whole answers", "", ("--no-stream",)),
    ("text completions", "/v1/completions", ("--no-usage",)),
    ("messages", "/v1/messages", ()),
)
COUNTED_AT, COUNTED_FOR = 64, 3.0
IDLE_FOR, WARM_FOR = 10.0, 3.0


# ---------------------------------------------------------------- the run


def measure(bench: Bench) -> None:
    """All turns, both sides in each repeat; and what was counted in them."""
    options = bench.options
    numbers = [int(word) for word in options.concurrency.split(",")]
    for side in SIDES:
        load(bench, side, max(numbers), WARM_FOR)
    with counting(bench, "streams that ask for usage") as row:
        for concurrency in numbers:
            for k in range(options.repeats):
                for side in SIDES if k % 2 == 0 else SIDES[::-1]:
                    bench.turns.append(load(bench, side, concurrency, options.seconds))
            show(bench, concurrency)
        proxied = [turn.counted for turn in bench.turns if turn.side == "proxied"]
        row["server"] = {key: sum(one[key] for one in proxied) for key in (PROMPT, GENERATED)}


def count(bench: Bench) -> None:
    """Kinds of traffic that are only counted."""
    for name, path, words in COUNTED:
        if not serves(bench.options, path):
            bench.console.print(f"{name}: the server has no {path}", style="dim")
            continue
        words += ("--path", path) if path else ()
        with counting(bench, name) as row:
            turn = load(bench, "proxied", COUNTED_AT, COUNTED_FOR, words)
            row["failures"] = turn.failures()
    with counting(bench, f"{LEAVERS} callers who leave after {LEAVE_AFTER} events") as row:
        row["events"] = asyncio.run(all_leave(bench.proxy.url, bench.options.model))
        row["must_agree"] = False  # the server makes a few more before it notices


def idle(bench: Bench) -> float:
    """CPU microseconds a second of the proxy with no callers."""
    before = cpu_seconds(bench.proxy.pid)
    time.sleep(IDLE_FOR)
    return (cpu_seconds(bench.proxy.pid) - before) / IDLE_FOR * 1e6


def spread(values: list[float], scale: float, digits: int) -> str:
    low, mid, high = min(values), median(values), max(values)
    return f"{mid * scale:,.{digits}f} ({low * scale:,.{digits}f}–{high * scale:,.{digits}f})"


def show(bench: Bench, concurrency: int) -> None:
    """One concurrency: medians, and in brackets the least and the most of the repeats."""
    here = [turn for turn in bench.turns if turn.concurrency == concurrency]
    turns = {side: [turn for turn in here if turn.side == side] for side in SIDES}
    table = Table(title=f"{concurrency} at once", title_justify="left")
    for head in ("", *SIDES, "difference", "ratio"):
        table.add_column(head, justify="right" if head else "left")

    def row(name: str, values: list[list[float]], scale: float, digits: int) -> None:
        first, second = (median(one) for one in values)
        cells = [spread(one, scale, digits) for one in values]
        ratio = f"{second / first:.3f}" if first else "–"
        table.add_row(name, *cells, f"{(second - first) * scale:+,.{digits}f}", ratio)

    for name, key, quantile in FIGURES:
        row(f"{name}, ms", [[t.figure(key, quantile) for t in turns[s]] for s in SIDES], 1e3, 2)
    for name, key in RATES:
        row(name, [[t.rate(key) for t in turns[s]] for s in SIDES], 1, 1)
    for who in turns["proxied"][0].cpu:
        values = [[t.cpu_us_per_token(who) for t in turns[s]] for s in SIDES]
        row(f"{who}, µs CPU/token", values, 1, 2)
    busy = [max((t.busiest() for t in turns[s]), default=0.0) for s in SIDES]
    table.add_row("busiest load process", *(f"{100 * one:.0f} %" for one in busy))
    failed = [sum(sum(t.failures().values()) for t in turns[s]) for s in SIDES]
    table.add_row("failures", *map(str, failed))
    bench.console.print(table)


def show_counts(bench: Bench) -> list[str]:
    """Ledger against server; returns what must agree and does not."""
    table = Table(title="through the proxy: tokens by ledger and server", title_justify="left")
    for head in ("", "prompt", "by server", "completion", "by server", "requests by exactness"):
        table.add_column(head, justify="right" if head and "by e" not in head else "left")
    wrong = []
    for row in bench.counts:
        kinds = row["ledger_by_exactness"]
        said = ", ".join(f"{n['requests']} {kind}" for kind, n in kinds.items())
        cells = [f"{row[by][key]:,}" for key in (PROMPT, GENERATED) for by in ("ledger", "server")]
        events = f"; {row['events']} events read" if "events" in row else ""
        failed = f"; FAILED {row['failures']}" if row.get("failures") else ""
        table.add_row(row["name"], *cells, said + events + failed)
        if row["must_agree"] and any(row["difference"].values()):
            wrong.append(f"{row['name']}: the ledger differs by {row['difference']}")
    bench.console.print(table)
    return wrong


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    add = parser.add_argument
    add("--model", required=True, help="what callers name")
    add("--url", default="http://127.0.0.1:8000", help="default http://127.0.0.1:8000")
    add("--server", default="", metavar="COMMAND", help="starts the server that is at --url")
    add("--pid", type=int, default=0, help="of a server that runs already: its CPU time is read")
    add("--preset", default="vllm", help="of the upstream; default vllm")
    add("--health", default="/health", help="200 here: the server is ready; default /health")
    add("--metrics", default="/metrics", help="default /metrics")
    add("--counters", default=COUNTERS, help=f"prompt and generated tokens; default {COUNTERS}")
    add("--concurrency", default="1,64,256,512", help="default 1,64,256,512")
    add("--seconds", type=float, default=8.0, help="of a turn; default 8")
    add("--repeats", type=int, default=3, help="default 3")
    add("--max-tokens", type=int, default=128, help="of an answer; default 128")
    add("--per-process", type=int, default=128, help="callers of a load process; default 128")
    add("--proxy-cores", default="", metavar="N-N,N", help="default: all")
    add("--load-cores", default="", metavar="N-N,N", help="default: all")
    add("--server-cores", default="", metavar="N-N,N", help="default: all; with --server")
    add("--wait", type=float, default=600.0, help="seconds for a start or an answer; default 600")
    add("--out", type=Path, help="JSON file")
    return parser.parse_args()


def run(bench: Bench) -> int:
    """Returns 1 if anything failed."""
    idle_us = 0.0
    try:
        measure(bench)
        count(bench)
        idle_us = idle(bench)
        bench.console.print(f"idle: {idle_us:,.0f} µs CPU a second")
        wrong = show_counts(bench)
    finally:
        if bench.options.out:
            words = {k: str(v) for k, v in vars(bench.options).items()}
            kept: dict[str, Any] = {"zeroproxy": __version__, "machine": machine()}
            kept |= {"options": words, "turns": [turn.as_dict() for turn in bench.turns]}
            kept |= {"counts": bench.counts, "idle_us_per_s": idle_us}
            kept["proxy_said"] = bench.proxy.errors.read_text()
            bench.options.out.write_text(json.dumps(kept, indent=1))
    wrong += [f"{t.side}, {t.concurrency}: {t.failures()}" for t in bench.turns if t.failures()]
    wrong += [f"{row['name']}: {row['failures']}" for row in bench.counts if row.get("failures")]
    for one in wrong:
        bench.console.print(f"FAILED {one}", style="bold red", markup=False)
    return 1 if wrong else 0


def main() -> int:
    options = parse()
    toml = upstream_toml(options.url, preset=json.dumps(options.preset))
    with tempfile.TemporaryDirectory() as folder, server(options) as pid:
        proxy = ProxyProcess(toml)
        with contextlib.ExitStack() as stack:
            with on_cores(cores(options.proxy_cores)):
                stack.enter_context(proxy)
            return run(Bench(options, proxy, pid, Path(folder), Console(width=150)))


if __name__ == "__main__":
    sys.exit(main())
