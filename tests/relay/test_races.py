"""The race of a keep-alive: the endpoint ends a conn at the very moment a request is sent on it.

The law (exchange.may_retry): a reused conn that died without a byte of a response is replaced by a
new one, unseen by the caller. A request that an endpoint has begun to answer is never sent twice.
"""

import json
import socket

import pytest

from tests.support.editing import BOTH, REFUSAL, RUNNING, json_post, length_of
from tests.support.exchanges import connected
from tests.support.script import Peer, Script, ok, play, post, split_head
from tests.support.settings import routes

ROUNDS = 250


def bring_others(script: Script) -> None:
    """Before the race: it lasts 200 ms, and 40 handshakes of TLS may take longer."""
    script.others = [script.downstream() for _ in range(40)]
    for other in script.others:
        other.send(b"POST /")


def keep_busy(script: Script) -> None:
    """Reports of 40 others, so that what is reported next is not in the same group as what was
    reported before."""
    for other in script.others:
        other.put(b"x")


def end_before_the_report(d: Peer, u: Peer, request: bytes) -> None:
    """The conn is dead when the request is sent, and its report is dispatched later."""
    d.put(request)
    keep_busy(d.script)
    u.close()


def reset_before_the_report(d: Peer, u: Peer, request: bytes) -> None:
    """The same, and the send itself fails."""
    d.put(request)
    keep_busy(d.script)
    u.reset()


def reset_unread(d: Peer, u: Peer, request: bytes) -> None:
    d.send(request)
    u.close()


def finish_unread(d: Peer, u: Peer, request: bytes) -> None:
    d.send(request)
    u.finish()


def finish_after_the_head(d: Peer, u: Peer, request: bytes) -> None:
    d.send(request)
    assert u.receive().startswith(b"POST ")
    u.close()


def reset_after_the_head(d: Peer, u: Peer, request: bytes) -> None:
    d.send(request)
    assert u.sock.recv(40)
    u.close()


RACES = [
    end_before_the_report,
    reset_before_the_report,
    reset_unread,
    finish_unread,
    finish_after_the_head,
    reset_after_the_head,
]


def echo(d: Peer, u: Peer, body: bytes) -> None:
    assert u.receive().endswith(body)
    u.send(ok(body))
    assert d.receive().endswith(body)


def race(script: Script, how) -> None:
    bring_others(script)
    d, u = connected(script, post(body=b"%08d" % 0))
    echo(d, u, b"%08d" % 0)
    for k in range(1, ROUNDS + 1):
        body = b"%08d" % k
        how(d, u, post(body=body))
        u = script.upstream()
        echo(d, u, body)


@pytest.mark.parametrize("attempts", [1, 2])
@pytest.mark.parametrize("how", RACES)
def test_no_caller_sees_the_race(how, attempts):
    """250 rounds of each: 3,000 races."""
    with play(attempts=attempts, limits={"connections": 1000}) as script:
        race(script, how)
        records = script.records()
        assert {(r["outcome"], r["status"]) for r in records} == {("ok", 200)}
        tried = [r["tried"] for r in records]
        # Once in a while the kernel has the end reported before the request: nothing to try again.
        assert tried[0] == 1
        assert set(tried) <= {1, 2}
        assert tried.count(2) > 0.9 * ROUNDS
        (e,) = script.engine.snapshot()["upstreams"][0]["endpoints"]
        assert e["stale_retries"] == tried.count(2)


def test_an_end_that_is_reported_beside_the_request_costs_no_attempt():
    """Upstream's reports go first."""
    with play(attempts=1) as script:
        d, u = connected(script)
        echo(d, u, b"{}")
        d.put(post(body=b"beside"))
        u.close()
        echo(d, script.upstream(), b"beside")
        assert [r["tried"] for r in script.records()] == [1, 1]


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_pool_that_dies_as_a_whole_costs_one_retry(attempts):
    """All conns of one age end at once; the second try must not take another of them."""
    with play(attempts=attempts) as script:
        bring_others(script)
        callers = [script.downstream() for _ in range(8)]
        for d in callers:
            d.send(post())
        ups = [script.upstream() for _ in callers]
        for d, u in zip(callers, ups, strict=True):
            echo(d, u, b"{}")
        d = callers[0]
        d.put(post(body=b"racing"))
        keep_busy(script)
        for u in ups:
            u.sock.close()
        echo(d, script.upstream(), b"racing")
        assert script.records()[-1]["tried"] == 2


def test_what_has_begun_to_be_answered_is_not_sent_twice():
    with play() as script:
        d, u = connected(script)
        echo(d, u, b"{}")
        d.send(post(body=b"second"))
        u.send(b"HTTP/1.1 2")
        u.close()
        assert d.receive().startswith(b"HTTP/1.1 502 ")
        assert not script.has_connected()


def test_a_new_conn_that_dies_is_no_race():
    with play() as script:
        d, u = connected(script)
        u.sock.shutdown(socket.SHUT_RDWR)
        u.close()
        assert d.receive().startswith(b"HTTP/1.1 502 ")
        assert not script.has_connected()


# ---------------------------------------------------------------- requests that were edited


@pytest.mark.parametrize("how", RACES)
def test_what_was_written_into_a_request_is_in_its_second_attempt_too(how):
    """Usage is asked for and the model has the server's name, in a length that fits."""
    with play(usage_request=RUNNING, attempts=1) as script:
        script.engine.set_routes(routes(("mine", 0, "the/server's")), default=0)
        bring_others(script)
        d, u = connected(script)
        echo(d, u, b"{}")
        how(d, u, json_post(b'{"model":"mine","stream":true}'))
        u = script.upstream()
        head, body = split_head(u.receive())
        assert length_of(head) == len(body)
        assert json.loads(body) == {
            "model": "the/server's", "stream": True, "stream_options": BOTH,
        }  # fmt: skip
        u.send(ok(body))
        assert d.receive().startswith(b"HTTP/1.1 200 ")
        record = script.records()[-1]
        assert (record["tried"], record["usage_by"]) == (2, "proxy")


def test_a_request_whose_edit_was_refused_meets_no_dead_conn():
    with play(usage_request=RUNNING, attempts=1) as script:
        callers = [script.downstream() for _ in range(2)]
        for d in callers:
            d.send(post())
        first, second = (script.upstream() for _ in callers)
        echo(callers[0], first, b"{}")
        echo(callers[1], second, b"{}")
        callers[0].send(json_post())
        assert b"stream_options" in second.receive()
        second.put(REFUSAL)
        first.close()
        u = script.upstream()
        assert b"stream_options" not in u.receive()
        u.send(ok(b"fine"))
        assert callers[0].receive().endswith(b"fine")
