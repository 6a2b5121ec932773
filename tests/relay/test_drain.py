"""A drain, and connections that have just been made."""

import socket

import pytest

from tests.support.exchanges import answered, streaming
from tests.support.script import Peer, chunk, get, ok, play


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


# ---------------------------------------------------------------- settling


def test_while_it_settles_each_answer_closes_and_new_conns_are_served(script):
    before, u = answered(script, get())
    script.engine.settle()
    assert not before.is_closed()
    before.send(get())
    answered_and_closed(script, before, u)
    after = script.downstream()
    after.send(get())
    answered_and_closed(script, after, u)
    assert script.engine.busy() == 0


def test_a_response_that_has_begun_leaves_its_conn_open_for_one_that_announces_the_end(script):
    caller, u = streaming(script)
    script.engine.settle()
    u.send(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    assert caller.receive().endswith(b"0\r\n\r\n")
    assert not caller.is_closed()
    caller.send(get())
    answered_and_closed(script, caller, u)


def test_an_error_closes_while_it_settles(script):
    script.engine.settle()
    script.engine.set_endpoint(0, up=False)
    caller = script.downstream()
    caller.send(get())
    answer = caller.receive()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Connection: close\r\n" in answer
    assert caller.is_closed()
