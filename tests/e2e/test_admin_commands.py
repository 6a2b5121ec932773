"""`zeroproxy status`, `top`, `reload` and `drain` at a real proxy."""

import json
import os
import pty
import re
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.support.ports import free_port
from tests.support.proxy_process import ProxyProcess, upstream_toml


def cli(*arguments, env=None):
    return subprocess.run(
        [sys.executable, "-m", "zeroproxy", *arguments], capture_output=True, text=True,
        timeout=60, env={**os.environ, "COLUMNS": "140", **(env or {})},
    )  # fmt: skip


@pytest.fixture
def proxy(sim):
    with ProxyProcess(upstream_toml(sim.url)) as proxy:
        yield proxy


def ask(proxy):
    body = json.dumps({"model": "sim-1", "messages": [{"role": "user", "content": "x"}],
                       "max_tokens": 5, "stream": True}).encode()  # fmt: skip
    request = urllib.request.Request(
        f"{proxy.url}/v1/chat/completions", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        return response.read()


def test_status_shows_each_endpoint_and_its_state(proxy, sim):
    done = cli("status", "-c", str(proxy.path))
    assert (done.returncode, done.stderr) == (0, "")
    first, *rest = done.stdout.splitlines()
    assert re.match(r"zeroproxy \S+  serving  up \d+ s  callers 0  in flight 0  waiting 0$", first)
    assert any(sim.url in line and " up " in line for line in rest)


def test_status_as_json_is_that_of_the_admin_port(proxy):
    done = cli("status", "--json", "--admin", f"127.0.0.1:{proxy.admin_port}")
    assert json.loads(done.stdout)["phase"] == "serving"


def test_a_drained_endpoint_is_shown_and_comes_back(proxy, sim):
    at = ("--admin", f"127.0.0.1:{proxy.admin_port}")
    done = cli("drain", *at, "--endpoint", sim.url)
    assert done.stdout == f"{sim.url} gets no new requests; 0 are in flight there\n"
    shown = cli("status", *at)
    assert shown.returncode == 1
    assert "draining" in shown.stdout
    assert "not ready: " in shown.stdout
    assert cli("drain", *at, "--endpoint", sim.url, "--undo").stdout == (
        f"{sim.url} gets requests again\n"
    )
    assert cli("status", *at).returncode == 0
    lost = cli("drain", *at, "--endpoint", "http://nowhere:1")
    assert (lost.returncode, lost.stdout) == (1, "")
    assert lost.stderr.endswith(": there is no such endpoint\n")


def test_reload_names_what_changed_or_what_is_wrong(proxy):
    command = ("reload", "-c", str(proxy.path))
    assert cli(*command).stdout == "reloaded: nothing changed\n"
    text = proxy.path.read_text()
    proxy.path.write_text(text + "[limits]\nbody_bytes = '10MB'\n")
    assert cli(*command).stdout == "reloaded: limits.body_bytes changed\n"
    proxy.path.write_text(text + "[limits]\nbody_bytes = 'ten'\n")
    done = cli("reload", "--admin", f"127.0.0.1:{proxy.admin_port}")
    assert (done.returncode, done.stdout) == (2, "")
    assert "not reloaded: " in done.stderr
    assert "limits.body_bytes: expected bytes" in done.stderr


def test_a_file_whose_other_keys_are_wrong_still_leads_to_the_admin_port(proxy):
    text = proxy.path.read_text()
    proxy.path.write_text(text.replace("endpoints = ", "models = "))
    assert cli("status", "-c", str(proxy.path)).returncode == 0


def test_drain_ends_the_proxy(sim):
    with ProxyProcess(upstream_toml(sim.url)) as proxy:
        done = cli("drain", "-c", str(proxy.path))
        assert (done.returncode, done.stdout) == (0, "the proxy drains and exits\n")
        assert proxy.process.wait(timeout=20) == 0


def test_top_without_a_terminal_is_one_picture(proxy):
    asked = subprocess.Popen([sys.executable, "-m", "zeroproxy", "top", "--once", "-i", "3",
                              "-c", str(proxy.path)], stdout=subprocess.PIPE, text=True,
                             env={**os.environ, "COLUMNS": "140"})  # fmt: skip
    deadline = time.monotonic() + 30
    while asked.poll() is None and time.monotonic() < deadline:
        ask(proxy)
        time.sleep(0.05)
    shown = asked.communicate(timeout=20)[0]
    assert asked.returncode == 0
    rate = re.search(r"requests/s ([0-9.]+) ", shown)
    assert rate
    assert float(rate[1]) > 0
    assert re.search(r"sim-1 .* [0-9,]+ +[0-9,]+", shown)
    assert "no failed exchange since the start" in shown


def test_top_on_a_terminal_ends_with_q(proxy):
    main, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "zeroproxy", "top", "-i", "0.2", "-c", str(proxy.path)],
        stdin=follower, stdout=follower, stderr=follower,
        env={**os.environ, "COLUMNS": "140", "LINES": "40", "TERM": "xterm"},
    )  # fmt: skip
    os.close(follower)
    shown = b""
    try:
        while b"TTFT p50" not in shown:
            shown += os.read(main, 65536)
        os.write(main, b"q")
        try:
            while part := os.read(main, 65536):
                shown += part
        except OSError:
            pass
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(main)
    assert b"serving" in shown


@pytest.mark.parametrize("command", ["status", "top", "reload", "drain"])
def test_a_port_where_nobody_is_is_a_sentence(command):
    port = free_port()
    done = cli(command, "--admin", f"127.0.0.1:{port}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"zeroproxy: http://127.0.0.1:{port}: no admin port answers: Connection refused\n"
    )


def test_a_token_comes_from_the_configuration_a_file_or_a_variable(sim, tmp_path):
    text = upstream_toml(sim.url)
    token = tmp_path / "token"
    token.write_text("hunter2\n")
    with ProxyProcess(text, wait_ready=True) as proxy:
        proxy.path.write_text(proxy.path.read_text().replace(
            "[admin]\n", f'[admin]\ntoken_file = "{token}"\n'))  # fmt: skip
        at = ("--admin", f"127.0.0.1:{proxy.admin_port}")
        assert cli("reload", *at).stdout == "reloaded: admin.token changed\n"
        refused = cli("status", *at)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "admin.token is asked for" in refused.stderr
        assert cli("status", "-c", str(proxy.path)).returncode == 0
        assert cli("status", *at, "--token-file", str(token)).returncode == 0
        assert cli("status", *at, env={"ZEROPROXY_ADMIN__TOKEN": "hunter2"}).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("status", "--admin", "nowhere"), '--admin: "nowhere" is no address'),
        (("drain", "--undo", "--admin", "127.0.0.1:1"), "drain --undo: is for one --endpoint"),
        (("top", "-i", "0", "--admin", "127.0.0.1:1"), "--interval: seconds, from 0.1"),
    ],
)
def test_bad_usage_is_a_sentence_and_exit_2(arguments, says):
    done = cli(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
