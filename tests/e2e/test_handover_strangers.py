"""Strangers on the handover socket, other users, and processes that die on the way."""

import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.test_process import chat_answer
from tests.support.ports import free_port
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.until import wait_until
from tests.support.upgrades import HELLO, dial, get, put, upgrade

NOT_UPGRADED = "zeroproxy: not upgraded: "


@pytest.fixture(scope="module")
def path():
    """In a folder that is open to other users, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="zp-") as folder:
        Path(folder).chmod(0o777)
        yield f"{folder}/handover.sock"


@pytest.fixture(scope="module")
def running(sim, path):
    with ProxyProcess(upstream_toml(sim.url), server=f'handover = "unix:{path}"') as process:
        yield process


def is_untouched(proxy):
    return (
        chat_answer(proxy.port).endswith(b"data: [DONE]\n\n")
        and proxy.status()["phase"] == "serving"
    )


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "b'GET ' begins no message of a handover"),
        (struct.pack("!4sI", b"zpho", 1 << 20), "a message of 1048576 bytes: at most 4096 are "
                                                "allowed here"),
        (struct.pack("!4sI", b"zpho", 2) + b"[]", "no message Hello: Expected `object`, got "
                                                  "`array`"),
        (struct.pack("!4sI", b"zpho", 15) + b'{"kind":"gone"}', "no message Hello: Invalid value "
                                                               "'gone' - at `$.kind`"),
        (b"", "the other process has gone"),
    ],
)  # fmt: skip
def test_bytes_that_are_no_message_get_a_sentence(running, path, sent, why):
    with dial(path) as stranger:
        stranger.sendall(sent)
        stranger.shutdown(socket.SHUT_WR)
        reason = f"process {os.getpid()}: {why}"
        assert get(stranger) == {"kind": "refused", "reason": reason}
    wait_until(lambda: f"no upgrade: {reason}; this process goes on" in running.errors.read_text())
    assert is_untouched(running)


def test_another_protocol_is_refused_by_its_number(running, path):
    with dial(path) as stranger:
        put(stranger, {**HELLO, "protocol": 7, "news": True})
        reason = get(stranger)["reason"]
    assert reason.startswith(f"process {os.getpid()}: it speaks protocol 7 of the handover")
    assert reason.endswith("protocol 1")
    assert is_untouched(running)


def test_a_slow_one_is_given_up_and_its_descriptors_are_not_taken(running, path):
    pid = running.pid
    before = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    with dial(path) as stranger, Path(os.devnull).open() as nothing:
        # Half a message, with descriptors that nobody asked for.
        socket.send_fds(stranger, [b"zp"], [nothing.fileno()] * 50)
        assert get(stranger)["reason"] == f"process {os.getpid()} did not go on in time"
    wait_until(lambda: len(list(Path(f"/proc/{pid}/fd").iterdir())) <= before)
    assert is_untouched(running)


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to be another user")
def test_another_user_is_refused_by_its_number(running, path):
    Path(path).chmod(0o666)  # the mode keeps it out, too
    dialled = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX); os.setuid(65534);"
        "s.connect(sys.argv[1]); sys.stdout.buffer.write(s.recv(4096))"
    )
    done = subprocess.run([sys.executable, "-c", dialled, path], capture_output=True, timeout=60)
    assert b"of user 65534 may not take over: this proxy runs as user 0" in done.stdout
    assert is_untouched(running)


# ---------------------------------------------------------------- the old side


@contextmanager
def old_by_hand(path, step, port):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.old_by_hand", path, step, str(port)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def handed(sim, tmp_path, path):
    """(file, path of the handover, port) of a proxy that is to take over."""
    port, path = free_port(), f"{path}-{tmp_path.name}"
    file = tmp_path / "proxy.toml"
    file.write_text(
        f'[server]\nlisten = "127.0.0.1:{port}"\nhandover = "unix:{path}"\n[admin]\nlisten = ""\n'
        f'{upstream_toml(sim.url)}[metering]\nledger = ""\n'
    )
    return file, path, port


@pytest.mark.parametrize("step", ["offer", "go", "gone", "serving", "odd", "never"])
def test_if_the_old_one_dies_on_the_way_the_new_one_serves_what_waits(handed, step):
    file, path, port = handed
    with old_by_hand(path, step, port):
        waiting = socket.create_connection(("127.0.0.1", port), timeout=60)
        waiting.sendall(b"GET /v1/models HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        new = upgrade(file, "--foreground")
        try:
            assert " serves; process " in new.stdout.readline()
            assert waiting.recv(15) == b"HTTP/1.1 200 OK"  # accepted by nobody until now
            assert chat_answer(port).endswith(b"data: [DONE]\n\n")
        finally:
            waiting.close()
            new.send_signal(signal.SIGTERM)
            err = new.communicate(timeout=60)[1]
    assert new.returncode == 0
    is_dead = step not in ("odd", "never")
    assert ("has died; its listeners are taken over" in err) == is_dead
    assert ("can be used" in err) == (step == "odd")
    assert not Path(path).exists()


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ("hello", "the other process has gone"),
        ("garbage", "b'HTTP' begins no message of a handover"),
        ("huge", "a message of 2147483647 bytes: at most 65536 are allowed here"),
        ("nonsense", "no message Offer: Expected `array`, got `int` - at `$.listeners`"),
        ("few", "1 descriptors came for 2 listeners, stdout and stderr"),
        ("deaf", "the descriptor for 127.0.0.1:{port} is no socket"),
        ("lost", "/nowhere: No such file or directory"),
        ("back", "the proxy is draining"),
    ],
)
def test_an_old_one_that_lies_or_refuses_ends_the_new_one_with_a_sentence(handed, step, why):
    file, path, port = handed
    with old_by_hand(path, step, port):
        new = upgrade(file, "--foreground")
        _, err = new.communicate(timeout=60)
        assert new.returncode == 1
        assert err.splitlines()[-1] == NOT_UPGRADED + why.format(port=port)
        # Its name is not taken away.
        assert Path(path).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to be another user")
def test_a_socket_of_another_user_is_not_believed(handed):
    file, path, _ = handed
    program = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
        "s.bind(sys.argv[1]); s.listen(); print('ready', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"ready\n"
        new = upgrade(file, "--foreground")
        assert new.communicate(timeout=60)[1].endswith(
            f"unix:{path} is a socket of user 65534, and this is user 0\n"
        )
        assert new.returncode == 1
    finally:
        process.kill()
        process.communicate()
