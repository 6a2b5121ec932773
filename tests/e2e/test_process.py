"""A proxy process as an operator meets it: start, signals, addresses, limits, admin."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.ports import free_port
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.sim_thread import SimThread
from zeroproxy.server.fd_limits import reserved


def chat(tokens: int, stream: bool = True) -> bytes:
    body = {"model": "sim-1", "max_tokens": tokens, "stream": stream,
            "messages": [{"role": "user", "content": "x"}]}  # fmt: skip
    return json.dumps(body).encode()


def chat_answer(port: int, tokens: int = 4, stream: bool = True) -> bytes:
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        conn.request("POST", "/v1/chat/completions", chat(tokens, stream))
        response = conn.getresponse()
        assert response.status == 200
        return response.read()
    finally:
        conn.close()


def run_cli(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "zeroproxy", *arguments], capture_output=True, text=True, timeout=60
    )


# ---------------------------------------------------------------- the command line


def test_help_and_version_say_what_there_is():
    said = run_cli("--help").stdout
    for word in ("check", "sim", "demo", "version", "examples:"):
        assert word in said
    assert "data plane: compiled" in run_cli("version").stdout


def test_a_bad_configuration_is_one_line_and_exit_2(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text('[[upstream]]\nname = "a"\nendpoints = ["http://127.0.0.1:1"]\nbalanse = 1\n')
    for arguments in (("-c", str(path)), ("check", "-c", str(path))):
        done = run_cli(*arguments)
        assert done.returncode == 2
        assert done.stderr == (
            f'zeroproxy: {path}:4: upstream[0].balanse: unknown key; did you mean "balance"?\n'
        )


def test_a_taken_port_is_a_sentence_and_exit_1(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = tmp_path / "x.toml"
        path.write_text(f'[server]\nlisten = "127.0.0.1:{port}"\n' + upstream_toml("http://h:1"))
        path.write_text(path.read_text().replace("http://h:1", "http://127.0.0.1:1"))
        done = run_cli("-c", str(path))
        assert done.returncode == 1
        assert done.stderr == (
            f"zeroproxy: cannot listen on 127.0.0.1:{port}: Address already in use\n"
        )
        checked = run_cli("check", "-c", str(path))
        assert checked.returncode == 0
        assert "Address already in use; as it should be" in checked.stdout


def test_a_ledger_that_is_none_is_a_sentence_and_exit_1(tmp_path):
    path, ledger = tmp_path / "x.toml", tmp_path / "usage.sqlite"
    ledger.write_text("not one")
    path.write_text(
        '[server]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = ""\n'
        f'{upstream_toml("http://127.0.0.1:1")}[metering]\nledger = "{ledger}"\n'
    )
    done = run_cli("-c", str(path))
    assert (done.returncode, done.stderr) == (
        1, f"zeroproxy: the ledger {ledger} is no SQLite database\n",
    )  # fmt: skip
    checked = run_cli("check", "-c", str(path))
    assert checked.returncode == 2
    assert "is no SQLite database" in checked.stdout
    assert ledger.read_text() == "not one"


def test_no_command_is_a_usage_error():
    assert run_cli().returncode == 2


# ---------------------------------------------------------------- signals


def test_sigterm_lets_streams_finish(sim):
    with ProxyProcess(upstream_toml(sim.url)) as proxy, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(chat_answer, proxy.port, 300) for _ in range(8)]
        proxy.until(lambda s: s["upstreams"][0]["inflight"] == 8)
        proxy.terminate()
        for one in asked:
            assert one.result().endswith(b"data: [DONE]\n\n")
        assert proxy.stop() == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


@contextmanager
def endless_answer(port: int) -> Iterator[http.client.HTTPResponse]:
    """A streamed response whose head has arrived and that would go on for minutes."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        conn.request("POST", "/v1/chat/completions", chat(100_000))
        yield conn.getresponse()
    finally:
        conn.close()


def test_a_drain_ends_at_its_timeout_and_cuts_visibly(sim):
    with (
        ProxyProcess(upstream_toml(sim.url), server="drain_timeout = 0.2") as proxy,
        endless_answer(proxy.port) as answer,
    ):
        proxy.terminate()
        with pytest.raises(http.client.IncompleteRead) as found:
            answer.read()
        assert b"the proxy is shutting down" in found.value.partial
        assert proxy.stop() == 0


def test_a_second_signal_cuts_at_once(sim):
    with (
        ProxyProcess(upstream_toml(sim.url), server="drain_timeout = 600.0") as proxy,
        endless_answer(proxy.port) as answer,
    ):
        proxy.terminate()
        proxy.until(lambda s: s["phase"] == "draining")
        os.kill(proxy.pid, signal.SIGINT)
        with pytest.raises(http.client.IncompleteRead):
            answer.read()
        assert proxy.stop() == 0


# ---------------------------------------------------------------- addresses


def test_unix_sockets_on_both_sides_and_several_listeners(tmp_path):
    with SimThread() as sim:
        inner_path, outer_path = tmp_path / "inner.sock", tmp_path / "outer.sock"
        text = upstream_toml(sim.url)
        inner = ProxyProcess(text)
        inner.path.write_text(
            inner.path.read_text().replace(
                f'listen = "127.0.0.1:{inner.port}"',
                f'listen = ["127.0.0.1:{inner.port}", "unix:{inner_path}"]',
                1,
            )
        )
        with inner, ProxyProcess(upstream_toml(f"unix:{inner_path}")) as outer:
            assert chat_answer(outer.port).endswith(b"data: [DONE]\n\n")
            assert chat_answer(inner.port).endswith(b"data: [DONE]\n\n")
        assert not inner_path.exists(), "a socket file is removed at the end"
        assert not outer_path.exists()


def test_two_endpoints_share_the_work():
    with SimThread() as a, SimThread() as b:
        text = upstream_toml(a.url, b.url, balance='"round_robin"')
        with ProxyProcess(text) as proxy:
            for _ in range(6):
                chat_answer(proxy.port)
        assert (a.stats.begun, b.stats.begun) == (3, 3)


# ---------------------------------------------------------------- limits


def test_512_streams_on_1024_descriptors_are_refused_politely_or_served(sim):
    """The scene this project exists for: a limit of 1,024 descriptors, 512 callers."""
    with ProxyProcess(upstream_toml(sim.url), nofile=1024) as proxy:
        cap = proxy.status()["connections"]["limit"]
        assert cap == (1024 - reserved(1024)) // 2
        with ThreadPoolExecutor(64) as pool:
            answers = list(pool.map(lambda _: chat_answer(proxy.port), range(512)))
        assert all(a.endswith(b"data: [DONE]\n\n") for a in answers)
        status = proxy.until_quiet()
        assert status["connections"]["starved"] == 0


def test_descriptors_that_run_out_are_survived(sim):
    with ProxyProcess(upstream_toml(sim.url), nofile=128) as proxy:
        idle = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(150)]
        try:
            status = proxy.until(lambda s: s["connections"]["refused"] > 0)
            assert status["connections"]["downstream"] <= 16
        finally:
            for sock in idle:
                sock.close()
        proxy.until(lambda s: s["connections"]["downstream"] == 0)
        assert chat_answer(proxy.port).endswith(b"data: [DONE]\n\n")


def test_a_100_megabyte_body_flows_through_bounded_memory(sim):
    def resident(pid: int) -> int:
        with open(f"/proc/{pid}/statm") as statm:
            return int(statm.read().split()[1]) * 4096

    with ProxyProcess(upstream_toml(sim.url)) as proxy:
        chat_answer(proxy.port)
        before = resident(proxy.pid)
        conn = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
        body = chat(2).replace(b'"x"', b'"' + b"x" * 100_000_000 + b'"')
        conn.request("POST", "/v1/chat/completions", body)
        answer = conn.getresponse().read()
        conn.close()
        assert answer.endswith(b"data: [DONE]\n\n")
        assert resident(proxy.pid) - before < 4 << 20


# ---------------------------------------------------------------- admin


def test_readyz_says_why_not():
    port = free_port()
    with ProxyProcess(upstream_toml(f"http://127.0.0.1:{port}"), wait_ready=False) as proxy:
        with pytest.raises(urllib.error.HTTPError) as found:
            proxy.fetch("/readyz")
        assert found.value.code == 503
        deadline = time.monotonic() + 5
        reasons = json.loads(found.value.read())["reasons"]
        found.value.close()
        while "refused" not in reasons[0] and time.monotonic() < deadline:
            with pytest.raises(urllib.error.HTTPError) as found:
                proxy.fetch("/readyz")
            reasons = json.loads(found.value.read())["reasons"]
            found.value.close()
            time.sleep(0.05)
        assert reasons == [f"http://127.0.0.1:{port}: Connection refused"]


def test_metrics_count_what_happened(proxy):
    for _ in range(3):
        chat_answer(proxy.port)
    with pytest.raises(urllib.error.HTTPError) as found:
        urllib.request.urlopen(f"{proxy.url}/nowhere")
    found.value.close()
    proxy.until_quiet()
    families = {f.name: f for f in text_string_to_metric_families(proxy.fetch("/metrics").decode())}
    counts = {
        (s.labels["status"], s.labels["outcome"]): s.value
        for s in families["zeroproxy_requests"].samples
    }
    assert counts == {("200", "ok"): 3.0, ("404", "downstream/head/surface"): 1.0}
    ttft = {s.name: s.value for s in families["zeroproxy_ttft_seconds"].samples if not
            s.labels.get("le")}  # fmt: skip
    assert ttft["zeroproxy_ttft_seconds_count"] == 3
    assert families["zeroproxy_endpoint_up"].samples[0].value == 1


def test_admin_answers_in_json_and_drains(sim):
    with ProxyProcess(upstream_toml(sim.url)) as proxy:
        with pytest.raises(urllib.error.HTTPError) as found:
            proxy.fetch("/nope")
        assert json.loads(found.value.read())["error"]["code"] == 404
        found.value.close()
        request = urllib.request.Request(f"{proxy.admin_url}/-/drain", method="POST")
        with urllib.request.urlopen(request) as response:
            assert response.status == 202
        assert proxy.process is not None
        assert proxy.process.wait(20) == 0


def test_the_access_log_has_a_line_per_exchange(sim, tmp_path):
    log = tmp_path / "access.jsonl"
    text = upstream_toml(sim.url) + f'[log]\naccess = "jsonl:{log}"\n'
    with ProxyProcess(text) as proxy:
        chat_answer(proxy.port)
        chat_answer(proxy.port, stream=False)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(x["status"], x["outcome"], x["path"]) for x in lines] == [
        (200, "ok", "/v1/chat/completions")
    ] * 2
    assert lines[0]["ttft_ms"] > 0
    assert len({x["request_id"] for x in lines}) == 2
