"""Processes: start one on a core, look at its whole tree, end it.

Note 1. Only processes started here are ended, by their own handle.
Note 2. Figures are those of the kernel, in /proc; the process itself is not queried.
"""

import contextlib
import http.client
import os
import resource
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

TICKS = os.sysconf("SC_CLK_TCK")
# As complete as the pickiest contestant demands.
GREETING = (
    b'{"model":"bench/model-8b-instruct","messages":[{"role":"user","content":"Are you there?"}]}'
)
JSON_TYPE = {"Content-Type": "application/json"}


def raise_nofile() -> int:
    """Raise the descriptor limit for us and our children; returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_address() -> str:
    """An address nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def start(
    command: list[str], core: int, log: IO[bytes], pipes: bool = False
) -> subprocess.Popen[bytes]:
    """Start a command on one core. Affinity is inherited, so ours is changed for that moment.
    Its output goes to the log, not to pipes: a pipe that nobody reads would stop it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    stdin, stdout = (subprocess.PIPE, subprocess.PIPE) if pipes else (subprocess.DEVNULL, log)
    try:
        return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=log)
    finally:
        os.sched_setaffinity(0, before)


def end(process: subprocess.Popen[bytes], patience: float = 15.0) -> str:
    """SIGTERM, then SIGKILL; returns what it wrote to standard output at its end."""
    process.terminate()
    try:
        out, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        out, _ = process.communicate()
    return out.decode(errors="replace") if out else ""


def connection_to(address: str, patience: float, tls: bool) -> http.client.HTTPConnection:
    """Nobody's certificate is verified: it was made a moment ago."""
    host, port = address.rsplit(":", 1)
    if not tls:
        return http.client.HTTPConnection(host, int(port), timeout=patience)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, int(port), timeout=patience, context=context)


def await_listener(
    address: str, process: subprocess.Popen[bytes], patience: float, tls: bool = False
) -> None:
    """Return when a JSON request through `address` is answered 200."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with {process.returncode} before it listened")
        connection = connection_to(address, patience, tls)
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            contextlib.closing(connection),
        ):
            connection.request("POST", "/v1/chat/completions", GREETING, JSON_TYPE)
            if connection.getresponse().status == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"no 200 from {address} within {patience} s")


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in task.read_text().split()]
    return found


def cpu_split(pids: list[int]) -> tuple[float, float]:
    """User and system seconds, reaped children included. 10 ms ticks: a share, not the figure."""
    user = system = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            user += int(fields[11]) + int(fields[13])
            system += int(fields[12]) + int(fields[14])
    return user / TICKS, system / TICKS


@dataclass(frozen=True)
class Thread:
    """Seconds since it began: on a core, and ready to run without one."""

    ran: float
    waited: float


def threads(pids: list[int]) -> dict[int, Thread]:
    """Every thread of these processes."""
    found = {}
    for pid in pids:
        for schedstat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                ran, waited, _ = schedstat.read_text().split()
                found[int(schedstat.parent.name)] = Thread(int(ran) / 1e9, int(waited) / 1e9)
    return found


def waited(before: dict[int, Thread], after: dict[int, Thread]) -> float:
    """Seconds the busiest thread was kept from its core by somebody else than its siblings. At
    least: whatever these ran is taken for time it waited for them."""
    none = Thread(0.0, 0.0)
    ran = {tid: one.ran - before.get(tid, none).ran for tid, one in after.items()}
    if not ran:
        return 0.0
    busiest = max(ran, key=lambda tid: ran[tid])
    kept = after[busiest].waited - before.get(busiest, none).waited
    return max(0.0, kept - (sum(ran.values()) - ran[busiest]))


def sleeps(pids: list[int]) -> int:
    """Number of times they went to sleep of their own accord."""
    count = 0
    for pid in pids:
        for status in Path(f"/proc/{pid}/task").glob("*/status"):
            with contextlib.suppress(OSError):
                for line in status.read_text().splitlines():
                    if line.startswith("voluntary_ctxt_switches"):
                        count += int(line.split()[1])
    return count


@dataclass(frozen=True)
class Memory:
    """Of a process tree, KiB. `anonymous` is what the programs themselves allocated."""

    pss: int = 0
    rss: int = 0
    anonymous: int = 0


def memory(pids: list[int]) -> Memory:
    """Figures of smaps_rollup."""
    sums = {"Pss": 0, "Rss": 0, "Pss_Anon": 0}
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, rest = line.partition(":")
                if name in sums:
                    sums[name] += int(rest.split()[0])
    return Memory(sums["Pss"], sums["Rss"], sums["Pss_Anon"])


def descriptors(pids: list[int]) -> int:
    """How many are open."""
    count = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            count += sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return count
