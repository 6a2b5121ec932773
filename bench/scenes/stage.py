"""Parts that the scenes share: programs on loopback, and a caller that notes when bytes came.

Note. A caller's times begin at the `write` of a request on a conn that stands, and end when the
      loop hands over the bytes. The delay of that loop is measured beside them (Lag).
"""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE = 30.0
HEAD_END = b"\r\n\r\n"
LAG_EVERY = 0.01
CONFIG = """
[server]
listen = "{listen}"
[admin]
listen = "{admin}"
[metering]
ledger = ""
inject_usage = false
[[upstream]]
name = "scene"
endpoints = ["{url}"]
health = {{ path = "" }}
{more}
"""


def free_address() -> str:
    """An address nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def await_ok(url: str) -> None:
    """Return when GET `url` is answered 200."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.02)
    sys.exit(f"no 200 from {url} within {PATIENCE:g} s")


@contextlib.contextmanager
def program(*words: str) -> Iterator[None]:
    """`python ...`, ended by its own handle."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([sys.executable, *words], stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


@contextlib.contextmanager
def simulator(**options: float) -> Iterator[str]:
    """HOST:PORT of an engine; `options` are those of `zeroproxy sim`."""
    address = free_address()
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    with program("-m", "zeroproxy", "sim", f"--listen={address}", *words):
        await_ok(f"http://{address}/health")
        yield address


@contextlib.contextmanager
def proxy(upstream: str, more: str, keys: str = "") -> Iterator[str]:
    """HOST:PORT of a proxy that is ready; `more` are lines of its upstream, `keys` tables."""
    with proxy_and_admin(upstream, more, keys) as (listen, _):
        yield listen


@contextlib.contextmanager
def program_pair(more: str, **options: float) -> Iterator[tuple[str, str]]:
    """A proxy before an engine with these options: HOST:PORT of its listener and of its admin."""
    with simulator(**options) as engine, proxy_and_admin(engine, more) as found:
        yield found


@contextlib.contextmanager
def proxy_and_admin(upstream: str, more: str, keys: str = "") -> Iterator[tuple[str, str]]:
    """The same with HOST:PORT of its admin listener."""
    listen, admin = free_address(), free_address()
    with tempfile.TemporaryDirectory(prefix="scene-") as folder:
        path = Path(folder) / "proxy.toml"
        words = {"listen": listen, "admin": admin, "url": f"http://{upstream}", "more": more}
        path.write_text(CONFIG.format(**words) + keys)
        with program("-m", "zeroproxy", "-c", str(path)):
            await_ok(f"http://{admin}/readyz")
            yield listen, admin


@dataclass
class Seen:
    """One answer. Seconds since the request was written; infinite: never."""

    status: int = 0
    says_when: bool = False  # Retry-After
    first: float = float("inf")  # the first event, or for a refusal the last byte
    is_whole: bool = False


@dataclass
class Caller(asyncio.Protocol):
    """One conn to HOST:PORT, opened anew where it was lost; one request at a time."""

    address: str
    transport: asyncio.Transport | None = None
    seen: Seen = field(default_factory=Seen)

    async def open(self) -> None:
        host, port = self.address.split(":")
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, host, int(port))

    async def ask(self, tokens: int, key: str = "") -> Seen:
        if self.transport is None:
            await self.open()
        body = {"model": "sim-1", "max_tokens": tokens, "stream": True,
                "messages": [{"role": "user", "content": "x"}]}  # fmt: skip
        text = json.dumps(body).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}"
        head += f"\r\nAuthorization: Bearer {key}" if key else ""
        self.seen, self.got = Seen(), bytearray()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        assert self.transport is not None
        self.began = time.perf_counter()
        self.transport.write(head.encode() + HEAD_END + text)
        await self.over
        return self.seen

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    # ------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter() - self.began
        self.got += data
        head, end, body = bytes(self.got).partition(HEAD_END)
        if not end:
            return
        seen = self.seen
        seen.status = int(head[9:12])
        if seen.status == 200:
            if b"data:" in body:
                seen.first = min(seen.first, now)
            seen.is_whole = body.endswith(b"0\r\n\r\n")
        else:
            seen.says_when = b"retry-after:" in head.lower()
            length = head.lower().partition(b"content-length:")[2].partition(b"\r")[0]
            seen.is_whole = len(body) >= int(length or 0)
            seen.first = now
        if seen.is_whole and not self.over.done():
            self.over.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if hasattr(self, "over") and not self.over.done():
            self.over.set_result(None)


class Lag:
    """Delay of this process' loop: the tool adds it to every time it notes."""

    def __init__(self) -> None:
        self.late: list[float] = []

    async def watch(self) -> None:
        while True:
            due = time.perf_counter() + LAG_EVERY
            await asyncio.sleep(LAG_EVERY)
            self.late.append(time.perf_counter() - due)


def quantile(values: list[float], q: float) -> float:
    """Nearest rank; not a number where there are none."""
    ordered = sorted(values)
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)] if ordered else float("nan")
