"""The load of inference.py, and its readers of processes, counters and the ledger.

Note. Only processes started here are ended. CPU time is the kernel's figure for a process. Counts
     are those of the server's counters and of the proxy's /usage; nothing is estimated.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from subprocess import PIPE, STDOUT
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console

from bench.driver.processes import end
from tests.support.proxy_process import ProxyProcess

PROMPT, GENERATED = "prompt_tokens", "completion_tokens"
#: Figures that are kept of a turn: name in the JSON of `zeroproxy bench`, and the quantile.
FIGURES = (
    ("TTFT p50", "ttft_s", "p50"),
    ("TTFT p99", "ttft_s", "p99"),
    ("between events p50", "gap_s", "p50"),
    ("between events p99", "gap_s", "p99"),
    ("per token p50", "per_token_s", "p50"),
    ("whole answer p50", "total_s", "p50"),
    ("whole answer p99", "total_s", "p99"),
)
#: Tokens are reckoned from events, at the run's mean of tokens an event. Where a busy server puts
#: more and more of them into one, answers/s is the figure to go by.
RATES = (("tokens/s", "tokens_per_s"), ("answers/s", "answers_per_s"))
LEAVERS, LEAVE_AFTER, LEAVE_TOKENS = 64, 20, 512
#: Seconds. A count may be a second on its way into the ledger.
CALM, PATIENCE = 1.3, 20.0

Counts = dict[str, int]


@dataclass
class Turn:
    """One load on one side. `found`: what each process of `zeroproxy bench` wrote of it."""

    side: str
    concurrency: int
    found: list[dict[str, Any]] = field(default_factory=list)
    counted: Counts = field(default_factory=dict)  # by the server
    cpu: dict[str, float] = field(default_factory=dict)  # seconds by process
    refused: int = 0  # processes that did not begin, because their trial request failed
    waited: float = 0.0  # seconds until the proxy had the server in rotation

    def rate(self, name: str) -> float:
        """Of all processes together: `tokens_per_s` or `answers_per_s`."""
        return sum(one[name] or 0.0 for one in self.found)

    def figure(self, name: str, quantile: str) -> float:
        return median(one[name][quantile] or 0.0 for one in self.found) if self.found else 0.0

    def failures(self) -> Counts:
        kinds: Counts = {"refused": self.refused} if self.refused else {}
        for one in self.found:
            for kind, n in one["failures"].items():
                kinds[kind] = kinds.get(kind, 0) + n
        return kinds

    def busiest(self) -> float:
        """The greatest share of a core that a process of the load itself took."""
        return max((one["own_core"] or 0.0 for one in self.found), default=0.0)

    def cpu_us_per_token(self, who: str) -> float:
        return self.cpu.get(who, 0.0) / max(self.counted[GENERATED], 1) * 1e6

    def as_dict(self) -> dict[str, Any]:
        shown = {f"{name}.{q}": self.figure(name, q) for _, name, q in FIGURES}
        rates = {name: self.rate(name) for _, name in RATES}
        return {**vars(self), **rates, "medians": shown}


@dataclass
class Bench:
    """Servers and settings that all turns share."""

    options: argparse.Namespace
    proxy: ProxyProcess
    server: int  # process id, 0: unknown
    folder: Path
    console: Console
    turns: list[Turn] = field(default_factory=list)
    counts: list[dict[str, Any]] = field(default_factory=list)

    def url(self, side: str) -> str:
        return self.proxy.url if side == "proxied" else str(self.options.url)


# ---------------------------------------------------------------- processes


def cores(text: str) -> set[int]:
    """`0-3,6` as numbers; empty: all that are allowed."""
    found: set[int] = set()
    for word in filter(None, text.split(",")):
        first, _, last = word.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found or os.sched_getaffinity(0)


@contextlib.contextmanager
def on_cores(wanted: set[int]) -> Iterator[None]:
    """Cores on which programs started meanwhile stay."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, wanted)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pid: int) -> float:
    """User plus system time of a process with its threads, ended ones too; 0: there is none."""
    clock = (~pid << 3) | 2  # CPUCLOCK_SCHED of that process, as clock_getcpuclockid makes it
    with contextlib.suppress(OSError):
        return time.clock_gettime_ns(clock) / 1e9
    return 0.0


def children() -> dict[int, list[int]]:
    """The processes of this machine by their parent."""
    found: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            found.setdefault(parent, []).append(int(stat.parent.name))
    return found


def server_cpu(root: int) -> dict[str, float]:
    """CPU seconds of the server's first process, and of all under it together."""
    if not root:
        return {}
    tree, left, below = children(), [root], 0.0
    while left:
        under = tree.get(left.pop(), [])
        below += sum(map(cpu_seconds, under))
        left += under
    return {"server front": cpu_seconds(root), "server below": below}


def all_cpu(bench: Bench) -> dict[str, float]:
    return {"zeroproxy": cpu_seconds(bench.proxy.pid), **server_cpu(bench.server)}


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as response:
        return bytes(response.read())


@contextlib.contextmanager
def server(options: argparse.Namespace) -> Iterator[int]:
    """The server's process id; it is started and ended if a command is given."""
    if not options.server:
        yield options.pid
        return
    with on_cores(cores(options.server_cores)):
        process = subprocess.Popen(shlex.split(options.server), stdout=subprocess.DEVNULL)
    try:
        await_server(options, process)
        yield process.pid
    finally:
        end(process, patience=30)


def await_server(options: argparse.Namespace, process: subprocess.Popen[bytes]) -> None:
    """Return when it is healthy; ends the run if it is not in time."""
    until = time.monotonic() + options.wait
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError):
            fetch(options.url + options.health)
            return
        time.sleep(0.2)
    sys.exit(f"the server is not healthy after {options.wait:g} s: {options.server}")


# ---------------------------------------------------------------- counts


def server_counts(options: argparse.Namespace) -> Counts:
    """Counts of the server since it began. A counter that is missing ends the run."""
    text = fetch(options.url + options.metrics).decode()
    found: Counts = {}
    for key, name in zip((PROMPT, GENERATED), options.counters.split(","), strict=True):
        samples = [line.rpartition(" ") for line in text.splitlines() if line.startswith(name)]
        values = [float(value) for what, _, value in samples if what.partition("{")[0] == name]
        if not values:
            sys.exit(f"{options.metrics} of the server has no {name}")
        found[key] = int(sum(values))
    return found


def ledger_counts(proxy: ProxyProcess) -> dict[str, Counts]:
    """Requests and tokens in the ledger by exactness."""
    rows = json.loads(proxy.fetch("/usage?by=exactness"))["rows"]
    names = ("requests", "failed", PROMPT, GENERATED)
    return {row["exactness"]: {name: row[name] for name in names} for row in rows}


def settled(bench: Bench) -> tuple[Counts, dict[str, Counts]]:
    """Both counts when nothing is in flight and neither has moved for a while."""
    bench.proxy.until_idle()
    until = time.monotonic() + PATIENCE
    last = None
    while time.monotonic() < until:
        now = server_counts(bench.options), ledger_counts(bench.proxy)
        if now == last:
            return now
        last = now
        time.sleep(CALM)
    raise AssertionError(f"the counts did not come to rest within {PATIENCE} s: {last}")


def less(after: Counts, before: Counts) -> Counts:
    return {name: n - before.get(name, 0) for name, n in after.items()}


@contextlib.contextmanager
def counting(bench: Bench, name: str) -> Iterator[dict[str, Any]]:
    """One row of the counts of ledger and server meanwhile; the body may add to it."""
    server_before, ledger_before = settled(bench)
    row: dict[str, Any] = {"name": name, "must_agree": True}
    yield row
    server_after, ledger_after = settled(bench)
    row.setdefault("server", less(server_after, server_before))
    grown = {kind: less(now, ledger_before.get(kind, {})) for kind, now in ledger_after.items()}
    ledger = {kind: counts for kind, counts in grown.items() if any(counts.values())}
    row["ledger_by_exactness"] = ledger
    names = (PROMPT, GENERATED)
    row["ledger"] = {key: sum(counts[key] for counts in ledger.values()) for key in names}
    row["difference"] = less(row["ledger"], row["server"])
    bench.counts.append(row)


# ---------------------------------------------------------------- load


def await_rotation(proxy: ProxyProcess) -> float:
    """Return, with the seconds it took, when the proxy takes the server for well."""
    begun = time.monotonic()
    proxy.until(lambda s: all(e["up"] for u in s["upstreams"] for e in u["endpoints"]), PATIENCE)
    return time.monotonic() - begun


def serves(options: argparse.Namespace, path: str) -> bool:
    """True if the server itself has this path; "": the usual one, which it has."""
    request = urllib.request.Request(options.url + path, data=b"{}")
    try:
        if path:
            urllib.request.urlopen(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        return error.code not in (404, 405)
    return True


def load(bench: Bench, side: str, concurrency: int, seconds: float, more: tuple[str, ...] = ()
         ) -> Turn:  # fmt: skip
    """One turn. The callers are dealt out over as many processes as they need."""
    options, turn = bench.options, Turn(side, concurrency)
    n = -(-concurrency // options.per_process)
    share = [concurrency // n + (k < concurrency % n) for k in range(n)]
    command = [sys.executable, "-m", "zeroproxy", "bench", "-u", bench.url(side)]
    command += ["--model", options.model, "--max-tokens", str(options.max_tokens)]
    command += ["--duration", str(seconds), *more]
    turn.waited = await_rotation(bench.proxy) if side == "proxied" else 0.0
    before, cpu = server_counts(options), all_cpu(bench)
    files = [bench.folder / f"{k}.json" for k in range(n)]
    running = []
    with on_cores(cores(options.load_cores)):
        for file, callers in zip(files, share, strict=True):
            words = [*command, "--concurrency", str(callers), "--json", str(file)]
            running.append(subprocess.Popen(words, stdout=PIPE, stderr=STDOUT))
    for process, file in zip(running, files, strict=True):
        said, _ = process.communicate(timeout=seconds + options.wait)
        if not file.exists():
            print(f"{shlex.join(command)}: {said.decode()[-500:]}", file=sys.stderr)
            turn.refused += 1
            continue
        turn.found.append(json.loads(file.read_text())["runs"][0]["sides"][0])
        file.unlink()
    turn.cpu = {who: now - cpu[who] for who, now in all_cpu(bench).items()}
    turn.counted = less(server_counts(options), before)
    return turn


async def leave(url: str, model: str) -> int:
    """Request a stream, read some of it, hang up; returns the number of events that came."""
    body = json.dumps({
        "model": model, "stream": True, "max_tokens": LEAVE_TOKENS,
        "messages": [{"role": "user", "content": "Tell me a long story."}],
    }).encode()  # fmt: skip
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    n_events = 0
    while n_events < LEAVE_AFTER and (data := await reader.read(65536)):
        n_events += data.count(b"data: {")
    writer.transport.abort()
    return n_events


async def all_leave(url: str, model: str) -> int:
    return sum(await asyncio.gather(*(leave(url, model) for _ in range(LEAVERS))))
