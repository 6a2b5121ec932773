"""The race of a keep-alive: the endpoint ends a conn at the very moment a request is sent on it.

The law (exchange.may_retry): a rested conn that died without a byte of a response is replaced by a
new one, unseen by the caller, and what an endpoint has begun to answer is never sent twice.
"""

import socket

import pytest

from tests.support.script import Peer, Script, ok, play, post

ROUNDS = 250


def end_before_the_report(d: Peer, u: Peer, request: bytes) -> None:
    """The conn is dead, its report is behind that of the request: the send itself fails."""
    d.sock.send(request)
    u.close()


def reset_unread(d: Peer, u: Peer, request: bytes) -> None:
    d.send(request)
    u.close()


def finish_unread(d: Peer, u: Peer, request: bytes) -> None:
    d.send(request)
    u.finish()


def finish_after_the_head(d: Peer, u: Peer, request: bytes) -> None:
    d.send(request)
    assert u.receive().endswith(request[-8:])
    u.close()


def reset_after_the_head(d: Peer, u: Peer, request: bytes) -> None:
    d.send(request)
    assert u.sock.recv(40)
    u.close()


RACES = [
    end_before_the_report,
    reset_unread,
    finish_unread,
    finish_after_the_head,
    reset_after_the_head,
]


def serve(d: Peer, u: Peer, body: bytes) -> None:
    assert u.receive().endswith(body)
    u.send(ok(body))
    assert d.receive().endswith(body)


def race(script: Script, how) -> None:
    d = script.downstream()
    d.send(post(body=b"%08d" % 0))
    u = script.upstream()
    serve(d, u, b"%08d" % 0)
    for k in range(1, ROUNDS + 1):
        body = b"%08d" % k
        how(d, u, post(body=body))
        u = script.upstream()
        serve(d, u, body)


@pytest.mark.parametrize("attempts", [1, 2])
@pytest.mark.parametrize("how", RACES)
def test_no_caller_sees_the_race(how, attempts):
    """250 rounds of each: 2,500 races."""
    with play(attempts=attempts, limits={"connections": 1000}) as script:
        race(script, how)
        records = script.records()
        assert {(r["outcome"], r["status"]) for r in records} == {("ok", 200)}
        assert [r["tried"] for r in records] == [1] + [2] * ROUNDS
        (e,) = script.engine.snapshot()["upstreams"][0]["endpoints"]
        assert e["stale_retries"] == ROUNDS


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_pool_that_dies_as_a_whole_costs_one_retry(attempts):
    """All conns of one age end at once; the second try must not take another of them."""
    with play(attempts=attempts) as script:
        callers = [script.downstream() for _ in range(8)]
        for d in callers:
            d.send(post())
        ups = [script.upstream() for _ in callers]
        for d, u in zip(callers, ups, strict=True):
            serve(d, u, b"{}")
        d = callers[0]
        d.sock.send(post(body=b"racing"))
        for u in ups:
            u.sock.close()
        serve(d, script.upstream(), b"racing")
        assert script.records()[-1]["tried"] == 2


def test_what_has_begun_to_be_answered_is_not_sent_twice():
    with play() as script:
        d = script.downstream()
        d.send(post())
        u = script.upstream()
        serve(d, u, b"{}")
        d.send(post(body=b"second"))
        u.send(b"HTTP/1.1 2")
        u.close()
        assert d.receive().startswith(b"HTTP/1.1 502 ")
        assert not script.has_connected()


def test_a_new_conn_that_dies_is_no_race():
    with play() as script:
        d = script.downstream()
        d.send(post())
        u = script.upstream()
        u.sock.shutdown(socket.SHUT_RDWR)
        u.close()
        assert d.receive().startswith(b"HTTP/1.1 502 ")
        assert not script.has_connected()
