"""A drain, and connections that have just been made."""

import socket

import pytest

from tests.support.exchanges import answered
from tests.support.script import Peer, get, ok, play


@pytest.fixture
def script():
    with play() as s:
        yield s


def answered_and_closed(script, caller, u=None):
    u = u or script.upstream()
    u.receive()
    u.send(ok(b"there"))
    answer = caller.receive()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Connection: close\r\n" in answer
    assert answer.endswith(b"there")
    assert caller.is_closed()
    return u


def test_who_stands_in_the_accept_queue_is_served(script):
    waiting = []
    for _ in range(40):  # more than are accepted in a row
        peer = Peer(script, socket.create_connection(script.listener.getsockname()))
        peer.put(get())
        waiting.append(peer)
        script.peers.append(peer)
    script.engine.stop_listening()
    script.listener.close()
    script.engine.drain()
    for peer in waiting:
        answered_and_closed(script, peer)
    assert [r["outcome"] for r in script.records()] == ["ok"] * 40


def test_who_has_connected_and_asks_a_moment_later_is_served(script):
    caller = script.downstream()
    script.engine.stop_listening()
    script.engine.drain()
    caller.send(get()[:5])
    caller.send(get()[5:])
    answered_and_closed(script, caller)
    assert script.outcome() == "ok"


def test_who_has_connected_and_never_asks_is_closed_after_a_while(script):
    caller = script.downstream()
    script.engine.stop_listening()
    script.engine.drain()
    assert not caller.is_closed()
    script.wait()
    assert caller.is_closed()
    assert script.engine.busy() == 0


def test_who_waits_for_another_request_on_a_kept_connection_is_closed_at_once(script):
    caller, _ = answered(script, get())
    script.engine.drain()
    assert caller.is_closed()
