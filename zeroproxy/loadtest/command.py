"""`zeroproxy bench`, from its options to its exit status."""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from zeroproxy.errors import UsageError, ZeroproxyError
from zeroproxy.loadtest import render as show
from zeroproxy.loadtest import results_json as results
from zeroproxy.loadtest.dialects import Ask
from zeroproxy.loadtest.loop import Stop
from zeroproxy.loadtest.options import Settings, read_settings
from zeroproxy.loadtest.preflight import check, need_descriptors
from zeroproxy.loadtest.runs import Run, measure, open_session, order_of_sides

WIDE = 200  # where the output is no terminal
INTERRUPTED = 130
NOTICE = "no new requests; those under way are waited for, Ctrl-C once more gives them up"


def console_for(stream: Any) -> Console:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    console = Console(file=stream, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE
    return console


async def prepare(settings: Settings) -> list[Ask]:
    """Requests that each target can answer; a trial request of each was answered."""
    ask = Ask(settings.model, settings.prompt, settings.max_tokens, settings.streams,
              settings.wants_usage)  # fmt: skip
    asks = []
    for target in settings.targets:
        async with open_session(target, settings) as session:
            asks.append(await check(session, target, ask))
    return asks


class Bench:
    """One run of the command."""

    def __init__(self, settings: Settings, out: Console, err: Console) -> None:
        self.settings, self.out, self.err = settings, out, err
        self.asks: list[Ask] = []
        self.runs: list[Run] = []
        self.stop = Stop()
        self.begun = datetime.now(UTC)
        self.total = len(settings.concurrency) * len(
            order_of_sides(len(settings.targets), settings.slices)
        )

    async def play(self) -> None:
        preparing = asyncio.ensure_future(prepare(self.settings))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, preparing.cancel)
        self.asks = await preparing
        progress = show.Progress(self.err, self.total)

        def interrupt() -> None:
            self.stop.ask()
            self.err.print(NOTICE)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupt)
        async with progress.shown():
            async for run in measure(self.settings, self.asks, self.stop, progress.watch):
                self.runs.append(run)

    @property
    def has_failures(self) -> bool:
        sides = [side.all for run in self.runs for side in run.sides]
        return any(side.failed for side in sides) or not any(side.answered for side in sides)

    def document(self) -> dict[str, Any]:
        is_cut = self.stop.gently.is_set()
        return results.document(self.settings, self.asks, self.runs, self.begun, is_cut)


def write(path: str, found: dict[str, Any]) -> None:
    import orjson

    data = orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n"
    if path == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise ZeroproxyError(f"--json {path}: {error.strerror}") from None


def runner() -> asyncio.Runner:
    try:
        import uvloop
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def run(args: argparse.Namespace) -> int:
    """Raises ZeroproxyError."""
    try:
        settings = read_settings(args)
    except UsageError as error:
        print(f"zeroproxy bench: {error}", file=sys.stderr)
        return 2
    need_descriptors(max(settings.concurrency))
    if args.json and args.json != "-" and not Path(args.json).resolve().parent.is_dir():
        raise ZeroproxyError(f"--json {args.json}: its folder does not exist")
    out = console_for(sys.stderr if args.json == "-" else sys.stdout)
    bench = Bench(settings, out, console_for(sys.stderr))
    with runner() as loop:
        try:
            loop.run(bench.play())
        except asyncio.CancelledError:
            return INTERRUPTED  # before anything was measured
    found = bench.document()
    for each in found["runs"]:
        show.show_run(out, each)
    if args.json:
        write(args.json, found)
    if bench.stop.gently.is_set():
        return INTERRUPTED
    return 1 if bench.has_failures else 0
