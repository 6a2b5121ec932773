"""`zeroproxy exec`: a server that only the proxy reaches, its output, signals and end."""

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.support.exec_process import NO_PROBES, SIM, ExecProcess, NotedProcess, wait_until
from tests.support.ports import free_port
from zeroproxy.server.served_process import catches, described

ROOT = Path(__file__).resolve().parents[2]


def chat(tokens: int) -> bytes:
    body = {"model": "sim-1", "max_tokens": tokens, "stream": True,
            "messages": [{"role": "user", "content": "x"}]}  # fmt: skip
    return json.dumps(body).encode()


def stream(port: int, tokens: int) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """A response that has begun."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    conn.request("POST", "/v1/chat/completions", chat(tokens))
    return conn, conn.getresponse()


@pytest.fixture
def noted(request):
    """served_program.py behind the proxy, listening; `request.param` are its modes."""
    with NotedProcess(*getattr(request, "param", ())) as process:
        process.until_noted("listens")
        yield process


def test_the_server_is_reached_by_a_socket_of_this_user_alone():
    with ExecProcess(*SIM) as process:
        conn, response = stream(process.port, 3)
        assert b"[DONE]" in response.read()
        conn.close()
        folder = process.folder_of_socket()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert [path.name for path in folder.iterdir()] == ["server.sock"]
    assert not folder.exists()


def test_a_port_of_loopback_will_do():
    with ExecProcess(*SIM, options=("--reach", "port")) as process:
        conn, response = stream(process.port, 3)
        assert b"[DONE]" in response.read()
        conn.close()
        url = process.status()["upstreams"][0]["endpoints"][0]["url"]
    assert url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_proxy_drains_before_it_stops_the_server(number):
    with ExecProcess(*SIM) as process:
        conn, response = stream(process.port, 60)
        process.process.send_signal(number)
        assert response.read().endswith(b"data: [DONE]\n\n")
        conn.close()
        assert process.ended() == 0
        lines = [line.split(" ", 2)[2] for line in process.errors.read_text().splitlines()]
    assert lines[-3:] == [
        "draining: 1 connections are in use, for 30 s at most",
        "stopped",
        "zeroproxy sim ended with status 0",
    ]


def test_the_server_gets_the_signal_that_came(noted):
    noted.process.send_signal(signal.SIGINT)
    noted.until_noted("signal SIGINT")
    assert noted.ended() == 0


def test_a_drain_by_the_admin_port_stops_the_server_too(noted):
    request = urllib.request.Request(noted.admin_url + "/-/drain", method="POST")
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 202
    noted.until_noted("signal SIGTERM")
    assert noted.ended() == 0


def test_the_server_inherits_only_what_it_should(noted):
    assert noted.noted("descriptors") == ["0", "1", "2"]
    assert noted.noted("stdin") == ["/dev/null"]
    assert noted.noted("blocked") == []


def test_output_passes_through(tmp_path):
    with (tmp_path / "out").open("wb") as out:
        process = NotedProcess("status=7")
        process.stdout = out.fileno()
        process.launch()
        assert process.ended() == 7
    process.folder.cleanup()
    assert (tmp_path / "out").read_text() == "it prints\n"


def test_a_server_that_ends_ends_the_proxy_with_its_status():
    process = NotedProcess("status=3")
    process.launch()
    assert process.ended() == 3
    errors = process.errors.read_text()
    process.folder.cleanup()
    assert " ERROR " in errors
    assert errors.endswith(" INFO stopped\n")


@pytest.mark.parametrize("noted", [("hup",)], indirect=True)
def test_sighup_reloads_and_goes_on_to_a_server_that_handles_it(noted):
    noted.process.send_signal(signal.SIGHUP)
    noted.until_noted("signal SIGHUP")
    noted.until(lambda status: status["reloads"]["ok"] == 1)


def test_sighup_does_not_end_a_server_that_has_no_handler(noted):
    noted.process.send_signal(signal.SIGHUP)
    noted.until(lambda status: status["reloads"]["ok"] == 1)
    assert [line for line in noted.notes() if line.startswith("signal")] == []


def test_a_reload_reads_the_file_again(noted):
    noted.path.write_text(noted.path.read_text() + "[limits]\nbody_timeout = 7.0\n")
    request = urllib.request.Request(noted.admin_url + "/-/reload", method="POST")
    with urllib.request.urlopen(request, timeout=10) as response:
        assert json.load(response)["changed"] == ["limits.body_timeout"]


def deaf(*options: str) -> NotedProcess:
    """A server that ignores SIGTERM; the test ends it."""
    process = NotedProcess("deaf", options=options)
    process.start()
    process.until_noted("listens")
    return process


def test_one_more_signal_kills_a_server_that_does_not_stop():
    process = deaf()
    process.terminate()
    wait_until(lambda: "INFO stopped" in process.errors.read_text())
    process.terminate()
    assert process.ended() == 128 + signal.SIGKILL
    process.folder.cleanup()


def test_a_server_that_does_not_stop_in_time_is_killed():
    process = deaf("--stop-timeout", "0.1")
    process.terminate()
    assert process.ended() == 128 + signal.SIGKILL
    errors = process.errors.read_text()
    process.folder.cleanup()
    assert "has not ended 0.1 s after SIGTERM; it is killed" in errors


def test_nothing_is_started_where_the_proxy_cannot_start():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = NotedProcess(options=("--listen", f"127.0.0.1:{port}"))
        process.launch()
        assert process.ended() == 1
    assert process.notes() == []
    assert process.errors.read_text() == (
        f"zeroproxy: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    )
    process.folder.cleanup()


def test_a_program_that_the_kernel_refuses_is_a_sentence(tmp_path):
    program = tmp_path / "broken"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o700)
    process = ExecProcess(str(program), "{port}", text=NO_PROBES)
    process.launch()
    assert process.ended() == 1
    errors = process.errors.read_text()
    process.folder.cleanup()
    assert "ERROR broken cannot be started: No such file or directory\n" in errors


def test_one_line_needs_no_file(tmp_path):
    """`zeroproxy URL`, in an empty folder."""
    port, admin = free_port(), free_port()
    with ExecProcess(*SIM, options=("--reach", "port")) as behind:
        url = behind.status()["upstreams"][0]["endpoints"][0]["url"]
        process = subprocess.Popen(
            [sys.executable, "-m", "zeroproxy", url, "--listen", f"127.0.0.1:{port}", "--admin",
             f"127.0.0.1:{admin}", "--preset", "openai"],
            cwd=tmp_path, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        try:
            wait_until(lambda: answers(admin))
            conn, response = stream(port, 3)
            assert b"[DONE]" in response.read()
            conn.close()
        finally:
            process.terminate()
            assert process.wait(60) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["usage.sqlite"]


def answers(admin: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=5):
            return True
    except OSError:
        time.sleep(0.02)
        return False


def test_a_status_is_described_as_people_read_it():
    assert described(7 << 8) == "ended with status 7"
    assert described(signal.SIGKILL) == "was ended by SIGKILL"
    assert described(40) == "was ended by signal 40"


def test_a_process_without_a_handler_is_recognized():
    sleeper = subprocess.Popen(["sleep", "100"])
    try:
        assert not catches(sleeper.pid, signal.SIGHUP)
    finally:
        sleeper.kill()
        sleeper.wait()
    assert not catches(sleeper.pid, signal.SIGHUP)  # it is gone
