"""`make run`: a simulated inference server, the proxy before it, and a few real requests.

Three processes, so that the figures are honest: the simulator, the proxy, and this one, the caller.
Nothing is downloaded and nothing is configured. Afterwards both stay up to be tried by hand, unless
the output is no terminal or ZEROPROXY_DEMO_ONCE is set.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from rich.console import Console
from rich.table import Table

ROUNDS = 9  # requests each way
SETTLE = 2.0  # seconds in which the proxy's count must have become that of the requests
TOKENS = 24
PROMPT = "Tell me why a proxy should not be felt."


def pick_port(wanted: int) -> int:
    """`wanted` if it is free, else any."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


@dataclass
class Answer:
    """Measurements of one streamed request. Times in seconds."""

    ttft: float = 0.0
    gaps: list[float] = field(default_factory=list)
    tokens: int = 0
    usage: int = 0  # completion tokens as the server counts them


def chunk_of(line: bytes) -> dict[str, Any]:
    """The chat completion chunk on a line of the stream; empty for any other line."""
    return dict(orjson.loads(line[6:])) if line.startswith(b"data: {") else {}


def content_of(chunk: dict[str, Any]) -> str:
    choices = chunk.get("choices")
    return choices[0]["delta"].get("content") or "" if choices else ""


async def ask(session: aiohttp.ClientSession, url: str, show: Console | None = None) -> Answer:
    """One streamed chat completion; its tokens are printed as they arrive if `show` is given."""
    body = {
        "model": "sim-1",
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": TOKENS,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    answer, begun = Answer(), time.perf_counter()
    last = begun
    async with session.post(f"{url}/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.content:
            chunk = chunk_of(line)
            if chunk.get("usage"):
                answer.usage = chunk["usage"]["completion_tokens"]
            text = content_of(chunk)
            if not text:
                continue
            now = time.perf_counter()
            if answer.tokens:
                answer.gaps.append(now - last)
            else:
                answer.ttft = now - begun
            answer.tokens += 1
            last = now
            if show:
                show.print(text, end="", style="cyan")
    if show:
        show.print()
    return answer


@contextlib.asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m zeroproxy ARGUMENTS`, ended by SIGTERM."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "zeroproxy", *arguments,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.communicate()


async def until_up(session: aiohttp.ClientSession, url: str, process: Any) -> None:
    """Wait until `url` answers 200. Raises RuntimeError if the process ends first."""
    for _ in range(200):
        if process.returncode is not None:
            message = (await process.stderr.read()).decode().strip()
            raise RuntimeError(message or f"it ended with status {process.returncode}")
        with contextlib.suppress(aiohttp.ClientError):
            async with session.get(url) as response:
                if response.status == 200:
                    return
        await asyncio.sleep(0.05)
    raise RuntimeError(f"{url} did not answer within 10 s")


def milliseconds(value: float) -> str:
    return f"{value * 1e3:.2f} ms"


def figures(answers: list[Answer]) -> list[str]:
    """The cells of one column of the table."""
    ttft = [a.ttft for a in answers]
    gaps = [gap for a in answers for gap in a.gaps]
    times = (statistics.median(ttft), min(ttft), statistics.median(gaps))
    return [*map(milliseconds, times), str(sum(a.tokens for a in answers))]


def show_table(console: Console, direct: list[Answer], proxied: list[Answer], metered: int) -> bool:
    """The figures side by side; False if anyone counted something else than was received."""
    table = Table(title=f"{ROUNDS} requests each way, in turn", title_justify="left")
    for name in ("", "direct", "through zeroproxy"):
        table.add_column(name, justify="left" if not name else "right")
    names = ("TTFT, median", "TTFT, best", "between tokens, median", "tokens received")
    for row in zip(names, figures(direct), figures(proxied), strict=True):
        table.add_row(*row)
    table.add_row("tokens metered by the proxy", "", str(metered))
    console.print(table)
    received = sum(a.tokens for a in proxied)
    return metered == received == sum(a.usage for a in proxied)


async def metered_tokens(session: aiohttp.ClientSession, admin: str, expected: int) -> int:
    """The proxy's own count, once it is `expected` or the time for that is over."""
    deadline = time.monotonic() + SETTLE
    while True:
        async with session.get(f"{admin}/status") as response:
            status = await response.json()
        count = sum(int(t["completion"]) for t in status["tokens"])
        if count == expected or time.monotonic() > deadline:
            return count
        await asyncio.sleep(0.05)


async def measure(console: Console, sim: str, proxy: str, admin: str) -> bool:
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        console.print("tokens, as they arrive through the proxy:")
        proxied = [await ask(session, proxy, console)]
        await ask(session, sim)
        direct: list[Answer] = []
        for _ in range(ROUNDS):
            direct.append(await ask(session, sim))
            proxied.append(await ask(session, proxy))
        metered = await metered_tokens(session, admin, sum(a.tokens for a in proxied))
    first = proxied.pop(0)
    return show_table(console, direct, proxied, metered - first.tokens)


def goodbye(console: Console, proxy: str, admin: str) -> None:
    console.print(f"\nBoth stay up. Try it:\n\n  curl -N {proxy}/v1/chat/completions \\\n"
                  "    -H 'Content-Type: application/json' \\\n"
                  """    -d '{"model":"sim-1","stream":true,"max_tokens":20,"""
                  """"messages":[{"role":"user","content":"hello"}]}'\n""",
                  highlight=False, markup=False, soft_wrap=True)  # fmt: skip
    console.print(f"Admin: {admin}/status  {admin}/metrics    Ctrl-C ends it.", highlight=False)


async def play(console: Console, stays: bool) -> int:
    sim_port, port, admin_port = pick_port(8000), pick_port(8080), pick_port(9090)
    sim, proxy, admin = (f"http://127.0.0.1:{p}" for p in (sim_port, port, admin_port))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "demo.toml"
        path.write_text(
            f'[server]\nlisten = "127.0.0.1:{port}"\n[admin]\nlisten = "127.0.0.1:{admin_port}"\n'
            f'[[upstream]]\nname = "sim"\nendpoints = ["{sim}"]\n'
            f"[metering]\nledger = {json.dumps(str(Path(folder) / 'usage.sqlite'))}\n"
        )
        async with (
            program("sim", "--listen", f"127.0.0.1:{sim_port}") as simulator,
            program("-c", str(path)) as proxying,
            aiohttp.ClientSession() as session,
        ):
            await until_up(session, f"{sim}/health", simulator)
            await until_up(session, f"{admin}/readyz", proxying)
            console.print(f"simulator on {sim}, zeroproxy on {proxy}", highlight=False)
            is_right = await measure(console, sim, proxy, admin)
            if not is_right:
                console.print("the proxy did not count what was received", style="red")
            if stays and is_right:
                goodbye(console, proxy, admin)
                await asyncio.Event().wait()
    return 0 if is_right else 1


async def play_until_signal(console: Console, stays: bool) -> int:
    """SIGINT or SIGTERM ends it at any time, as it is meant to be ended: status 0."""
    playing = asyncio.ensure_future(play(console, stays))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, playing.cancel)
    try:
        return await playing
    except asyncio.CancelledError:
        console.print()
        return 0


def run(_: argparse.Namespace) -> int:
    """Exit status 0 if every token that was received was also counted."""
    stays = sys.stdout.isatty() and not os.environ.get("ZEROPROXY_DEMO_ONCE")
    console = Console()
    try:
        return asyncio.run(play_until_signal(console, stays))
    except (RuntimeError, OSError, aiohttp.ClientError) as error:
        print(f"zeroproxy demo: {error}", file=sys.stderr)
        return 1
