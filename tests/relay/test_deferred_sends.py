"""Short sends are deferred while reports are dispatched, and leave when their group of 32 ends."""

import time

import pytest

from tests.support.exchanges import connected
from tests.support.script import Script, chunk, event, get, ok, play, post

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def pairs(script: Script, n: int):
    """n streams that have begun: [(downstream, upstream)]."""
    found = []
    for _ in range(n):
        d, u = connected(script, post(body=b'{"stream":true}'))
        u.send(SSE)
        assert d.receive().startswith(b"HTTP/1.1 200 ")
        found.append((d, u))
    return found


def test_one_burst_over_many_conns_reaches_everybody_whole():
    """70 reports in one batch: three groups; 3 KB each: more than can be deferred in one group."""
    with play() as script:
        streams = pairs(script, 70)
        for k, (_, u) in enumerate(streams):
            u.put(chunk(event(b'{"choices":[{"delta":{"content":"%s"}}]}' % (b"%03d" % k * 1000))))
        script.turn()
        for k, (d, u) in enumerate(streams):
            assert d.receive().count(b"%03d" % k) >= 1000
            u.send(LAST)
            assert d.receive() == LAST
        assert {r["outcome"] for r in script.records()} == {"ok"}


def test_two_sends_of_one_group_to_one_conn_keep_their_order():
    """An interim head, then the answer, in one read."""
    with play() as script:
        d = script.downstream()
        d.send(get())
        script.upstream().send(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok(b"the answer")
        )
        got = d.receive()
        assert got.index(b" 103 ") < got.index(b" 200 ") < got.index(b"the answer")


def test_a_reader_that_is_full_gets_the_rest_of_a_deferred_event_later():
    one = chunk(event(b'{"choices":[{"delta":{"content":"%s"}}]}' % (b"x" * 3000)))
    with play() as script:
        ((d, u),) = pairs(script, 1)
        sent = b""
        while (taken := u.send_some(one)) == len(one):
            sent += one
            assert len(sent) < 100_000_000
        sent += one[:taken]
        got, until = b"", time.monotonic() + 20
        # Chunks are framed anew, in fewer bytes: what they hold is the same.
        while got.count(b"x") < sent.count(b"x"):
            assert time.monotonic() < until
            got += d.receive()
        u.send(one[taken:] + LAST)
        assert d.receive().endswith(LAST)
        assert script.records()[-1]["outcome"] == "ok"


def test_a_long_send_lets_deferred_bytes_go_first():
    """An event and 60 KB of an upload in one group: both arrive, the event is not lost."""
    with play() as script:
        ((d, u),) = pairs(script, 1)
        other, v = connected(
            script,
            b"POST /v1/files HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\n"
            b"Content-Length: 200000\r\n\r\n" + b"y" * 100_000,
        )
        received = v.receive()
        u.put(chunk(event()))
        other.put(b"y" * 60_000)
        script.turn()
        assert d.receive().count(b"data: ") == 1
        received += v.receive()
        other.send(b"y" * 40_000)
        received += v.receive()
        assert received.count(b"y") >= 200_000
        v.send(ok())
        assert other.receive().endswith(b"ok")


def test_a_caller_who_resets_beside_an_event_ends_the_exchange_once():
    with play() as script:
        ((d, u),) = pairs(script, 1)
        u.receive()
        u.put(chunk(event()))
        d.reset()
        script.turn()
        (record,) = script.records()
        assert record["outcome"] == "downstream/relaying/reset"
        assert u.is_closed()


@pytest.mark.parametrize("body", [b"short", b"x" * 100_000], ids=["parked", "at once"])
def test_our_own_time_is_measured_either_way(body):
    with play() as script:
        d, u = connected(script)
        u.send(ok(body))
        assert d.receive().endswith(body)
        overhead = script.engine.snapshot()["upstreams"][0]["histograms"]["overhead"]
        assert overhead["n"] == 1
        assert 0 < overhead["sum_ns"] < script.records()[0]["total_ns"]


def test_what_one_end_says_last_is_told_before_its_fin_in_a_tunnel():
    with play() as script:
        d, u = connected(
            script,
            b"GET /v1/realtime HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        )
        u.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        u.receive()
        assert d.receive().startswith(b"HTTP/1.1 101 ")
        u.put(b"the last word")
        u.finish()
        script.turn()
        assert d.receive() == b"the last word"
        d.put(b"mine")
        d.finish()
        script.turn()
        assert u.receive() == b"mine"
        assert d.is_closed() and u.is_closed()
