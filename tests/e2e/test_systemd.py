"""A proxy process as a unit of systemd: its sockets, its states, its unit files."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.servers import missing
from tests.support.sim_thread import SimThread
from tests.support.until import wait_until

UNITS = Path("deploy/systemd")


@pytest.fixture(scope="module")
def sim():
    with SimThread() as thread:
        yield thread


class Systemd:
    """Its end of NOTIFY_SOCKET."""

    def __init__(self, folder: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(f"{folder}/notify")
        self.sock.settimeout(30)
        self.lines: list[str] = []

    def until(self, wanted: str) -> list[str]:
        """Lines since the last call, up to the datagram that has one which begins with `wanted`."""
        found: list[str] = []
        while not any(line.startswith(wanted) for line in found):
            found += self.sock.recv(65536).decode().split("\n")
        return found


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    systemd = Systemd(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.sock.getsockname())
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    yield systemd
    systemd.sock.close()


def test_a_life_in_states(sim, systemd):
    with ProxyProcess(upstream_toml(sim.url)) as proxy:
        assert any(line.startswith("STATUS=serving: 0") for line in systemd.until("READY=1"))
        assert "WATCHDOG=1" in systemd.until("WATCHDOG=1")
        os.kill(proxy.pid, signal.SIGHUP)
        found = systemd.until("RELOADING=1")
        assert found[found.index("RELOADING=1") + 1].startswith("MONOTONIC_USEC=")
        systemd.until("READY=1")
        assert proxy.stop() == 0
        assert "EXTEND_TIMEOUT_USEC=15000000" in systemd.until("STOPPING=1")


def test_a_process_that_hangs_feeds_no_watchdog(sim, systemd):
    with ProxyProcess(upstream_toml(sim.url)) as proxy:
        systemd.until("READY=1")
        os.kill(proxy.pid, signal.SIGSTOP)
        try:
            systemd.sock.settimeout(3)
            with pytest.raises(TimeoutError):
                for _ in range(5):
                    systemd.until("WATCHDOG=1")
        finally:
            os.kill(proxy.pid, signal.SIGCONT)
        systemd.sock.settimeout(30)
        systemd.until("WATCHDOG=1")


# ---------------------------------------------------------------- sockets


def config(sim: SimThread, folder: Path, listen: str) -> Path:
    path = folder / "proxy.toml"
    path.write_text(f'[server]\nlisten = "{listen}"\n[admin]\nlisten = ""\n'
                    f'[metering]\nledger = ""\n{upstream_toml(sim.url)}')  # fmt: skip
    return path


def test_the_first_caller_starts_the_proxy(sim, tmp_path):
    """systemd-socket-activate opens the socket, and execs the proxy for the first connection."""
    program = shutil.which("systemd-socket-activate")
    if program is None:
        missing("systemd", "apt-get install systemd")
    port = free_port()
    path = config(sim, tmp_path, "systemd:http")
    command = [program, "-l", f"127.0.0.1:{port}", "--fdname=http", "-E", "PATH",
               sys.executable, "-m", "zeroproxy", "-c", str(path)]  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, cwd=Path.cwd())
    try:
        wait_until(lambda: b"Listening on" in (tmp_path / "log").read_bytes())
        conn = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        conn.request("GET", "/v1/models")
        answer = conn.getresponse()
        assert answer.status == 200
        answer.read()
        conn.close()
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    text = (tmp_path / "log").read_text()
    assert f"listens on http://127.0.0.1:{port}" in text


def test_sockets_that_are_not_there_are_a_sentence(sim, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "zeroproxy", "-c", str(config(sim, tmp_path, "systemd:http"))],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "zeroproxy: cannot take the sockets of systemd: LISTEN_FDS is not set: start the .socket "
        "unit, which starts the service\n"
    )


# ---------------------------------------------------------------- unit files


@pytest.fixture
def analyze(tmp_path):
    """systemd-analyze on copies of the units, whose program is one that exists here."""
    program = shutil.which("systemd-analyze")
    if program is None:
        missing("systemd", "apt-get install systemd")
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/zeroproxy/bin/zeroproxy", "/bin/true")
        (tmp_path / unit.name).write_text(text)

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)

    return run, tmp_path


def test_the_units_are_what_systemd_expects(analyze):
    run, folder = analyze
    units = sorted(str(folder / unit.name) for unit in UNITS.iterdir())
    assert len(units) == 2
    done = run("verify", *units)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_is_hardened(analyze):
    """systemd's own scale: 0 is the best, below 2.5 is "OK"; a unit without settings has 9.6."""
    run, folder = analyze
    done = run("security", "--offline=true", "--threshold=20", "--no-pager",
               str(folder / "zeroproxy.service"))  # fmt: skip
    assert done.returncode == 0, done.stdout
