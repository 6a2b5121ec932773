"""One trial: one contestant under one load, everything started fresh.

Backend and generator share one core, the proxy has the other for itself. The generator reads the
CPU clocks at the two ends of the window. Memory is read after the window while the load still runs:
reading it costs nothing that is measured.
"""

import contextlib
import json
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from driver import processes
from driver.contestants import Contestant
from driver.scenarios import Scenario
from driver.secure import tls_words

READY_PATIENCE = 90.0  # LiteLLM imports for long
DISTURBED = 0.02  # share of the window; alone on its core a contestant never waits


@dataclass(frozen=True)
class Place:
    """Where trials run."""

    programs: dict[str, Path]
    load_core: int
    proxy_core: int
    nofile: int
    seconds: float
    pad: int = 0  # characters more in each event: see `padded`


def padded(place: Place, n: int) -> Place:
    """Of the n-th repeat, or start: events of another length, by up to 127 bytes. By
    how receive windows are rounded, the length decides where the kernel acknowledges. It does so in
    the proxy's recv, at several microseconds each, or in the backend's send. Proxies differ."""
    return replace(place, pad=n * 79 % 128)


@dataclass
class Started:
    """The processes of a trial."""

    backend: subprocess.Popen[bytes]
    proxy: subprocess.Popen[bytes] | None
    target: str
    is_even: bool = False  # no header identifies an exchange

    def proxy_tree(self) -> list[int]:
        """The pids of the contestant; none for direct."""
        return processes.tree(self.proxy.pid) if self.proxy else []


@contextlib.contextmanager
def started(
    place: Place,
    scenario: Scenario,
    contestant: Contestant,
    prefix: tuple[str, ...] = (),
    patience: float = READY_PATIENCE,
) -> Iterator[Started]:
    """Backend and contestant, ready; both ended when the block ends."""
    with contextlib.ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        folder.chmod(0o755)  # nginx's worker is another user
        log = undo.enter_context((folder / "stderr").open("w+b"))
        upstream = processes.free_address()
        command = [str(place.programs["backend"]), "--listen", upstream]
        command += ["--step-ms", str(scenario.step_ms), "--spread", str(scenario.spread)]
        command += ["--events", str(scenario.events), "--pad", str(place.pad)]
        backend = processes.start(command, place.load_core, log, pipes=True)
        undo.callback(processes.end, backend)
        processes.await_listener(upstream, backend, patience)
        if not contestant.command:
            yield Started(backend, None, upstream)
            return
        words = proxy_words(place, scenario, folder, upstream)
        command = [*prefix, *contestant.prepared(words)]
        proxy = processes.start(command, place.proxy_core, log)
        undo.callback(processes.end, proxy)
        try:
            processes.await_listener(words["listen"], proxy, patience, scenario.tls)
        except RuntimeError as error:
            log.seek(0)
            said = log.read()[-2000:].decode(errors="replace")
            raise RuntimeError(f"{contestant.name}: {error}\n{said}") from error
        yield Started(backend, proxy, words["listen"], contestant.drops_headers)


def proxy_words(place: Place, scenario: Scenario, folder: Path, upstream: str) -> dict[str, str]:
    """Names that commands and templates may use (contestants.py)."""
    listen, admin = processes.free_address(), processes.free_address()
    host, _, port = listen.rpartition(":")
    return {
        "listen": listen,
        "host": host,
        "port": port,
        "admin": admin,
        "admin_port": admin.rpartition(":")[2],
        "upstream": upstream,
        "folder": str(folder),
        "conns": str(scenario.conns),
        "nofile": str(place.nofile),
        "maxconn": str((place.nofile - 300) // 2),
        **tls_words(folder, scenario.tls),
    }


def generator_command(place: Place, scenario: Scenario, run: Started) -> list[str]:
    """The load, as arguments of the generator."""
    options = {
        "target": run.target,
        "even": int(run.is_even),
        "mode": scenario.mode,
        "conns": scenario.conns,
        "events": scenario.events,
        "leave": scenario.leave,
        "body": scenario.body,
        "rate": scenario.rate,
        "seconds": place.seconds,
        "warmup": scenario.warmup,
        "ramp": scenario.ramp,
        "tls": int(scenario.tls),
    }
    pairs = [(f"--{name}", str(value)) for name, value in options.items()]
    return [str(place.programs["generator"]), *(word for pair in pairs for word in pair)]


def look(pids: list[int]) -> dict[str, float]:
    """Counts of the kernel for the contestant so far."""
    user, system = processes.cpu_split(pids)
    return {"user": user, "system": system, "sleeps": processes.sleeps(pids)}


def run_load(place: Place, scenario: Scenario, run: Started, log: Path) -> dict[str, Any]:
    """Generate the load, look at the proxy meanwhile; returns the generator's report and ours."""
    pids = run.proxy_tree()
    found: dict[str, Any] = {"idle_memory": processes.memory(pids)}
    command = generator_command(place, scenario, run)
    watched = ",".join(str(pid) for pid in [*pids, run.backend.pid])
    command += ["--hold", "1", "--cpu-of", watched]
    with log.open("wb") as stderr:
        generator = processes.start(command, place.load_core, stderr, pipes=True)
    watchdog = threading.Timer(place.seconds + scenario.warmup + 60, generator.kill)
    watchdog.start()
    try:
        assert generator.stdout is not None
        generator.stdout.readline()
        before, threads = look(pids), processes.threads(pids)
        generator.stdout.readline()
        found["waited"] = processes.waited(threads, processes.threads(pids))
        found["spent"] = {key: value - before[key] for key, value in look(pids).items()}
        found["memory"] = processes.memory(pids)
        found["descriptors"] = processes.descriptors(pids)
        found["same_tree"] = run.proxy_tree() == pids
        report, _ = generator.communicate(timeout=60)
    finally:
        watchdog.cancel()
        if generator.poll() is None:
            generator.kill()
    if generator.returncode != 0:
        raise RuntimeError(f"generator: {log.read_text(errors='replace')}")
    return {**found, "load": json.loads(report), "pids": pids}


def run_trial(place: Place, scenario: Scenario, contestant: Contestant) -> dict[str, Any]:
    """One trial, as the JSON file keeps it."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        started(place, scenario, contestant) as run,
    ):
        found = run_load(place, scenario, run, Path(folder) / "generator")
        served = json.loads(processes.end(run.backend))
    return digest(scenario, contestant, found, served)


def digest(
    scenario: Scenario, contestant: Contestant, found: dict[str, Any], served: dict[str, Any]
) -> dict[str, Any]:
    """From raw readings to figures."""
    load = found["load"]
    seconds = load["seconds"]
    cpu = load.pop("cpu_ns")
    proxy_ns = sum(cpu[str(pid)] for pid in found["pids"])
    others_ns = sum(cpu.values()) - proxy_ns + load["own_cpu_ns"]
    units = {"event": load["events"], "request": load["requests"], "second": seconds}[scenario.unit]
    spent = found["spent"]
    ticked = spent["user"] + spent["system"]
    idle, full = found["idle_memory"], found["memory"]
    result = {
        "scenario": scenario.name,
        "contestant": contestant.name,
        "units": units,
        "per_second": units / seconds,
        "cpu_us_per_unit": proxy_ns / 1e3 / units if units else None,
        "proxy_core": proxy_ns / 1e9 / seconds,
        "load_core": others_ns / 1e9 / seconds,
        "waited": found["waited"] / seconds,
        "sleeps_per_unit": spent["sleeps"] / units if units else None,
        "user_share": spent["user"] / ticked if ticked else None,
        "memory_idle_kib": vars(idle),
        "memory_full_kib": vars(full),
        "pss_per_conn_kib": (full.pss - idle.pss) / scenario.conns,
        "anonymous_per_conn_kib": (full.anonymous - idle.anonymous) / scenario.conns,
        "descriptors": found["descriptors"],
        "load": load,
        "backend": served,
    }
    result["flags"] = flags(scenario, contestant, result, found["same_tree"])
    return result


def flags(
    scenario: Scenario, contestant: Contestant, result: dict[str, Any], same_tree: bool
) -> list[str]:
    """Remarks that a reader needs before comparing this row."""
    load = result["load"]
    found = []
    # Not exactly 1: exchanges that are between two lives get no event in that step.
    if scenario.nominal and result["per_second"] < 0.97 * scenario.nominal:
        found.append(f"SATURATED: {result['per_second'] / scenario.nominal:.0%} of the load")
    if scenario.paced and contestant.command and result["proxy_core"] > 0.95:
        found.append("proxy core full")
    if scenario.paced and result["load_core"] > 0.95:
        found.append("load core full")
    if result["waited"] > DISTURBED:
        found.append(f"DISTURBED: waited {result['waited']:.0%} of the time for its own core")
    if result["backend"]["late_steps"] > 1:
        found.append(f"{result['backend']['late_steps']} late steps")
    if load["warmup_failures"]:
        found.append(f"{load['warmup_failures']} failures in warm-up")
    if load["not_answered"] and scenario.warmup:
        found.append(f"{load['not_answered']} conns never answered in warm-up")
    if not same_tree:
        found.append("processes came or went: CPU incomplete")
    return found
