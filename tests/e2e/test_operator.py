"""Operation of the process: pipes that nobody reads, signals, closed descriptors, an overlapping
restart."""

import contextlib
import http.client
import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.test_process import chat_answer, endless_answer
from tests.support.proxy_process import CLOSED, ProxyProcess, upstream_toml
from tests.support.records import query

REQUESTS = 300


@contextlib.contextmanager
def unread_pipe():
    """A pipe of one page that nobody reads: its writing end."""
    import fcntl

    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    try:
        yield writer
    finally:
        os.close(writer)
        os.close(reader)


def signals_of(pid, kind):
    """The mask of that kind in /proc: SigBlk, SigCgt."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1], 16)
    return 0


# ---------------------------------------------------------------- pipes that nobody reads


def test_an_unread_stdout_costs_lines_of_the_log_and_nothing_else(sim):
    text = upstream_toml(sim.url) + '[log]\naccess = "jsonl:stdout"\n'
    with unread_pipe() as stdout:
        proxy = ProxyProcess(text)
        proxy.stdout = stdout
        with proxy:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda _: chat_answer(proxy.port, 1), range(REQUESTS)))
            proxy.until(lambda s: s["metering"]["ledger"]["rows"] == REQUESTS)
            proxy.until(lambda s: s["metering"]["flusher"]["stalled_seconds"] == 0)
            assert b"zeroproxy_flusher_stalled_seconds 0.0" in proxy.fetch("/metrics")
            assert proxy.stop() == 0
            assert query(proxy.ledger, "SELECT sum(count) FROM exchange") == [(REQUESTS,)]
            assert "access_log fails: it was not read" in proxy.errors.read_text()


def test_an_unread_stderr_holds_up_nothing(sim):
    with unread_pipe() as stderr:
        proxy = ProxyProcess(upstream_toml(sim.url))
        proxy.stderr = stderr
        with proxy:
            for k in range(1, 201):  # a line each, of 26 bytes and more
                os.kill(proxy.pid, signal.SIGHUP)
                proxy.until(lambda s, k=k: s["reloads"]["ok"] == k)
            assert proxy.fetch("/healthz")
            assert chat_answer(proxy.port, 1)
            assert proxy.stop() == 0


# ---------------------------------------------------------------- descriptors


@pytest.mark.parametrize("names", [["stdin"], ["stdout"], ["stdin", "stdout", "stderr"]])
def test_closed_standard_descriptors_are_no_matter(sim, names):
    text = upstream_toml(sim.url) + '[log]\naccess = "jsonl:stdout"\n'
    proxy = ProxyProcess(text)
    for name in names:
        setattr(proxy, name, CLOSED)
    with proxy:
        assert chat_answer(proxy.port, 1)
        for fd in range(3):
            target = str(Path(f"/proc/{proxy.pid}/fd/{fd}").readlink())
            assert not target.startswith(("socket", "anon"))


# ---------------------------------------------------------------- signals


def test_a_sighup_while_it_starts_is_a_reload_afterwards(sim):
    proxy = ProxyProcess(upstream_toml(sim.url))
    proxy.launch()
    maps = Path(f"/proc/{proxy.pid}/maps")
    deadline = time.monotonic() + 20
    while "zeroproxy/_fast/" not in maps.read_text():  # it is importing
        assert time.monotonic() < deadline
    assert not signals_of(proxy.pid, "SigCgt") & 1, "its handler does not stand yet"
    os.kill(proxy.pid, signal.SIGHUP)
    try:
        while time.monotonic() < deadline:
            assert proxy.process.poll() is None, "it was killed"
            with contextlib.suppress(OSError):
                if proxy.status()["reloads"]["ok"] == 1:
                    break
            time.sleep(0.02)
    finally:
        assert proxy.stop() == 0
        proxy.folder.cleanup()


def test_sigusr1_reopens_the_access_log_and_sigusr2_is_logged(sim, tmp_path):
    log, rotated = tmp_path / "access.jsonl", tmp_path / "access.jsonl.1"
    text = upstream_toml(sim.url) + f'[log]\naccess = "jsonl:{log}"\n'
    with ProxyProcess(text) as proxy:
        chat_answer(proxy.port, 1)
        log.rename(rotated)
        os.kill(proxy.pid, signal.SIGUSR1)
        proxy.until(lambda _: "the access log is reopened" in proxy.errors.read_text())
        chat_answer(proxy.port, 1)
        os.kill(proxy.pid, signal.SIGUSR2)
        proxy.until(lambda _: "SIGUSR2 is ignored" in proxy.errors.read_text())
        assert proxy.status()["reloads"]["ok"] == 0
    lines = [json.loads(line) for path in (rotated, log) for line in path.read_text().splitlines()]
    assert len({line["request_id"] for line in lines}) == 2
    assert log.stat().st_size > 0


def test_a_second_signal_tells_how_many_were_cut(sim):
    with (
        ProxyProcess(upstream_toml(sim.url), server="drain_timeout = 600.0") as proxy,
        endless_answer(proxy.port) as answer,
    ):
        proxy.terminate()
        proxy.until(lambda s: s["phase"] == "draining")
        os.kill(proxy.pid, signal.SIGTERM)
        with pytest.raises(http.client.IncompleteRead):
            answer.read()
        assert proxy.stop() == 0
        said = proxy.errors.read_text()
        assert "draining: 1 connections are in use, for 600 s at most" in said
        assert "stopped; 1 connections were cut" in said


# ---------------------------------------------------------------- unix sockets


def on_unix(proxy, path, admin):
    text = proxy.path.read_text()
    text = text.replace(f'"127.0.0.1:{proxy.port}"', f'"unix:{path}"', 1)
    if admin:
        text = text.replace(f'"127.0.0.1:{proxy.admin_port}"', f'"unix:{admin}"', 1)
    proxy.path.write_text(text)


def get_admin(path, what="/status"):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(path))
        sock.sendall(f"GET {what} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        found = b""
        while data := sock.recv(65536):
            found += data
    return found


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if condition():
                return
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_old_process_that_ends_leaves_the_socket_of_the_new_one(sim, tmp_path):
    path = tmp_path / "zp.sock"
    old, new = ProxyProcess(upstream_toml(sim.url)), ProxyProcess(upstream_toml(sim.url))
    for proxy in (old, new):
        on_unix(proxy, path, "")
    with old, socket.socket(socket.AF_UNIX) as busy:
        busy.connect(str(path))
        body = json.dumps({"model": "sim-1", "max_tokens": 100_000, "stream": True,
                           "messages": [{"role": "user", "content": "x"}]})  # fmt: skip
        busy.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: "
                     f"application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
                     .encode())  # fmt: skip
        assert busy.recv(100)
        old.terminate()
        old.until(lambda s: s["phase"] == "draining")
        with new:
            busy.close()
            assert old.stop() == 0
            assert b"200 OK" in get_admin(path, "/v1/models")
    assert not path.exists()


def test_a_second_process_does_not_take_the_admin_socket_away(sim, tmp_path):
    admin = tmp_path / "admin.sock"
    first, second = ProxyProcess(upstream_toml(sim.url)), ProxyProcess(upstream_toml(sim.url))
    for k, proxy in enumerate((first, second)):
        on_unix(proxy, tmp_path / f"{k}.sock", admin)
    first.launch()
    try:
        until(lambda: b"200 OK" in get_admin(admin))
        second.launch()
        assert second.process.wait(30) == 1
        assert second.errors.read_text() == (
            f"zeroproxy: cannot listen on unix:{admin} (admin): another process listens there\n"
        )
        assert b"200 OK" in get_admin(admin)
        assert first.stop() == 0
        assert not admin.exists(), "it is removed at the end"
        first.launch()
        until(lambda: b"200 OK" in get_admin(admin))
        first.process.kill()
        first.process.wait()
        second.launch()  # what a crash leaves behind is in nobody's way
        until(lambda: b"200 OK" in get_admin(admin))
        assert second.stop() == 0
    finally:
        for proxy in (first, second):
            if proxy.process.poll() is None:
                proxy.process.kill()
                proxy.process.wait()
            proxy.folder.cleanup()
