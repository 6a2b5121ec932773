"""`zeroproxy top`: a running proxy, watched in the terminal; q or Ctrl-C ends it.

Rates and percentiles are those of the time between two looks at /status. Where the output is no
terminal, or with --once, one picture is printed. Tests: tests/e2e/test_admin_commands.py.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import termios
import time
import tty
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from zeroproxy.commands import admin_client
from zeroproxy.commands.admin_client import AdminClient, AdminError, client_of
from zeroproxy.commands.status_table import Status, endpoints_of, new_table, state_of, summary
from zeroproxy.commands.top_rates import Change, duration
from zeroproxy.errors import UsageError

ROWS = 12  # of models, and of outcomes, at most


def add_arguments(parser: argparse.ArgumentParser) -> None:
    admin_client.add_arguments(parser)
    parser.add_argument(
        "-i", "--interval", type=float, default=1.0, metavar="SECONDS", help="between two looks"
    )
    parser.add_argument("--once", action="store_true", help="one picture, after one interval")


# ---------------------------------------------------------------- the picture


def rates_line(change: Change) -> Text:
    prompt, completion = change.token_rate("prompt"), change.token_rate("completion")
    failed = change.request_rate(is_failed=True)
    return Text.assemble(
        f"requests/s {change.request_rate():,.1f}  failed/s ",
        (f"{failed:,.1f}", "red" if failed else ""),
        f"  tokens/s in {prompt:,.0f} out {completion:,.0f}",
    )


def upstreams_view(change: Change) -> Table:
    table = new_table([
        ("upstream", False), ("in flight", True), ("queued", True), ("req/s", True),
        ("TTFT p50", True), ("p99", True), ("gap p50", True), ("p99", True), ("queue p99", True),
    ])  # fmt: skip
    for k, upstream in enumerate(change.new["upstreams"]):
        shown = [
            duration(change.quantile(k, name, share))
            for name, share in (("ttft", 0.5), ("ttft", 0.99), ("gap", 0.5), ("gap", 0.99),
                                ("queue_wait", 0.99))
        ]  # fmt: skip
        table.add_row(
            Text(upstream["name"]), f"{upstream['inflight']:,}",
            f"{upstream['queued'] + upstream['waiting']:,}",
            f"{change.request_rate(upstream['name']):,.1f}", *shown,
        )  # fmt: skip
    return table


def endpoints_view(change: Change) -> Table:
    table = new_table([
        ("endpoint", False), ("state", False), ("in flight", True), ("limit", True),
        ("req/s", True), ("failed/s", True), ("busy", True), ("idle", True),
    ])  # fmt: skip
    for upstream, endpoint in endpoints_of(change.new):
        failed = change.request_rate(upstream["name"], endpoint["url"], is_failed=True)
        table.add_row(
            Text(endpoint["url"]), state_of(endpoint), f"{endpoint['inflight']:,}",
            f"{endpoint['limit']:,}" if endpoint["limit"] else "–",
            f"{change.request_rate(upstream['name'], endpoint['url']):,.1f}",
            Text(f"{failed:,.1f}", "red" if failed else ""),
            f"{endpoint['connections'] - endpoint['idle']:,}", f"{endpoint['idle']:,}",
        )  # fmt: skip
    return table


def models_view(change: Change) -> Table:
    table = new_table([
        ("model", False), ("tenant", False), ("prompt/s", True), ("completion/s", True),
        ("prompt in all", True), ("completion in all", True),
    ])  # fmt: skip
    for row in change.models()[:ROWS]:
        table.add_row(
            Text(row.model or "–"), Text(row.tenant or "–"), f"{row.prompt_rate:,.0f}",
            f"{row.completion_rate:,.0f}", f"{row.prompt:,}", f"{row.completion:,}",
        )  # fmt: skip
    return table


def outcomes_line(change: Change) -> Text:
    """The outcomes that are no success, by how often they came since the process started."""
    counts = change.outcomes()[:ROWS]
    if not counts:
        return Text("no failed exchange since the start", "dim")
    return Text("failed since the start: "
                + ", ".join(f"{name} {n:,}" for name, n in counts))  # fmt: skip


def picture(change: Change) -> Group:
    blank = Text()
    parts: list[RenderableType] = [summary(change.new), rates_line(change), blank,
                                   upstreams_view(change), blank,
                                   endpoints_view(change)]  # fmt: skip
    if change.models():
        parts += [blank, models_view(change)]
    return Group(*parts, blank, outcomes_line(change))


# ---------------------------------------------------------------- the command


@contextlib.contextmanager
def keys(stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` when q is typed."""
    if not sys.stdin.isatty():
        yield
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    loop = asyncio.get_running_loop()

    def on_key() -> None:
        if sys.stdin.read(1) in ("q", "Q", "\x1b", "\x04", ""):
            stop.set()

    tty.setcbreak(fd)
    loop.add_reader(fd, on_key)
    try:
        yield
    finally:
        loop.remove_reader(fd)
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


async def look(client: AdminClient) -> tuple[float, Status]:
    return time.monotonic(), await client.ask("GET", "/status")


async def pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def watch(client: AdminClient, console: Console, interval: float) -> int:
    """Until q. A proxy that is gone is shown, and looked for again."""
    stop = asyncio.Event()
    old = await look(client)
    with keys(stop), Live(console=console, screen=True, auto_refresh=False) as live:
        while not stop.is_set():
            await pause(stop, interval)
            try:
                new = await look(client)
            except AdminError as error:
                live.update(Text(str(error), "red"), refresh=True)
                continue
            live.update(picture(Change(old[1], new[1], new[0] - old[0])), refresh=True)
            old = new
    return 0


async def show_once(client: AdminClient, console: Console, interval: float) -> int:
    old = await look(client)
    await asyncio.sleep(interval)
    new = await look(client)
    console.print(picture(Change(old[1], new[1], new[0] - old[0])))
    return 0


def run(args: argparse.Namespace) -> int:
    """Raises ConfigError, UsageError and AdminError."""
    if not 0.1 <= args.interval <= 3600:
        raise UsageError("--interval: seconds, from 0.1 to 3600")
    console = Console(highlight=False)
    client = client_of(args)
    is_live = console.is_terminal and not args.once
    return asyncio.run((watch if is_live else show_once)(client, console, args.interval))
