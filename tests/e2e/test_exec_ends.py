"""`zeroproxy exec`: whichever process ends, no stream ends silently and nothing stays."""

import http.client
import os
import signal

import pytest

from tests.e2e.test_exec import stream
from tests.support.exec_process import SIM, ExecProcess, NotedProcess, lives, remove, wait_until


@pytest.fixture
def process():
    """A simulator behind the proxy; its end is the test's."""
    started = ExecProcess(*SIM)
    started.start()
    known = [started.pid, *started.below()]
    yield started
    remove(*known)
    started.ended()
    started.folder.cleanup()


def cut_rest(response: http.client.HTTPResponse) -> bytes:
    """The bytes of a response up to where it is cut."""
    with pytest.raises(http.client.IncompleteRead) as caught:
        response.read()
    return caught.value.partial


def test_streams_end_in_their_dialect_when_the_server_is_killed(process):
    conn, response = stream(process.port, 5000)
    response.readline()
    os.kill(process.served, signal.SIGKILL)
    rest = cut_rest(response)
    conn.close()
    assert process.ended() == 128 + signal.SIGKILL
    assert rest.rstrip().rpartition(b"\n")[2].startswith(b'data: {"error":')
    assert b"[DONE]" not in rest
    assert "ERROR zeroproxy sim was ended by SIGKILL\n" in process.errors.read_text()


def test_nothing_is_left_when_the_proxy_is_killed(process):
    below, folder = process.below(), process.folder_of_socket()
    assert len(below) == 2  # the guard and the server
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(lives, below)))
    wait_until(lambda: not folder.exists())
    assert process.ended() == -signal.SIGKILL


def test_a_deaf_server_is_killed_when_the_proxy_is_killed():
    started = NotedProcess("deaf")
    started.start()
    started.until_noted("listens")
    below = started.below()
    os.kill(started.pid, signal.SIGKILL)
    started.ended()
    try:
        wait_until(lambda: not any(map(lives, below)))
    finally:
        remove(*below)
        started.folder.cleanup()


def test_nothing_is_left_when_the_guard_is_killed(process):
    conn, response = stream(process.port, 5000)
    response.readline()
    below, folder = process.below(), process.folder_of_socket()
    os.kill(process.guard, signal.SIGKILL)
    rest = cut_rest(response)
    conn.close()
    assert process.ended() == 128 + signal.SIGKILL
    assert b'data: {"error":' in rest
    assert not any(map(lives, below))
    assert not folder.exists()


def test_what_the_server_left_behind_ends_with_it():
    started = NotedProcess("child")
    started.launch()
    assert started.ended() == 0
    child = int(started.noted("child")[0])
    try:
        assert not lives(child)
    finally:
        remove(child)
        started.folder.cleanup()
