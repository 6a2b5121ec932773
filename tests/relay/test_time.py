"""Deadlines of every phase, drains, and the connection cap."""

import time
from contextlib import suppress

import pytest

from tests.support.breakers import endpoints
from tests.support.exchanges import connected, streaming, waiting
from tests.support.script import EXPECT, SSE_HEAD, get, ok, play, post, split_head


@pytest.fixture
def script():
    with play() as s:
        yield s


# ---------------------------------------------------------------- time


def test_a_head_that_never_ends_is_408():
    with play(limits={"header_timeout": 0.25}) as script:
        d = script.downstream()
        d.send(b"GET / HT")
        script.wait()
        assert d.receive().startswith(b"HTTP/1.1 408 ")
        d.close()
        assert script.outcome() == "downstream/head/timeout"


def test_an_idle_conn_is_closed_without_a_word():
    with play(limits={"idle_timeout": 0.25}) as script:
        d = script.downstream()
        script.wait()
        assert d.receive() == b""
        assert d.is_closed()
        assert script.records() == []


def test_a_body_that_stops_is_408():
    with play(limits={"body_timeout": 0.25}) as script:
        d, u = waiting(script, post(body=b"12345", extra=EXPECT)[:-2])
        script.wait()
        assert d.receive().startswith(b"HTTP/1.1 408 ")
        assert u.is_closed()
        d.close()
        assert script.outcome() == "downstream/waiting/timeout"


def trickle(script, d, n):
    """A byte at a time, each in time, until there is an answer."""
    for k in range(n):
        time.sleep(0.01)
        d.send(b"x")
        if found := d.receive():
            return found, k
    return b"", n


def test_a_body_below_the_least_rate_is_408_and_gives_its_permit_back():
    """A5: 8 uploads of 4 bytes a minute held all permits for ever."""
    with play(limits={"body_timeout": 0.25, "body_min_rate": 1000}, max_inflight=1) as script:
        d, u = connected(script, post(body=b"x" * 1000, extra=EXPECT)[:-990])
        other = script.downstream()
        other.send(get())
        assert not script.has_connected()
        found, sent = trickle(script, d, 900)
        assert found.startswith(b"HTTP/1.1 408 ")
        assert sent > 1
        u.receive()
        assert u.is_closed()
        u = script.upstream()
        u.receive()
        u.send(ok())
        assert other.receive().startswith(b"HTTP/1.1 200 ")
        d.close()
        outcomes = [r["outcome"] for r in script.records()]
        assert outcomes == ["downstream/waiting/timeout", "ok"]


def test_a_burst_buys_no_time_for_a_trickle():
    """A5: the least rate was an average since the start, so 1 MB was good for half an hour."""
    with play(limits={"body_timeout": 0.25, "body_min_rate": 1000}, max_inflight=1) as script:
        d = script.downstream()
        d.send(post(body=b"x" * 200_000, extra=EXPECT)[:-100_000])
        u = script.upstream()
        assert u.receive().endswith(b"x" * 50_000)
        found, sent = trickle(script, d, 900)
        assert found.startswith(b"HTTP/1.1 408 ")
        assert sent > 1
        u.receive()
        assert u.is_closed()
        d.close()
        assert script.outcome() == "downstream/waiting/timeout"


def test_a_trickle_behind_the_head_of_an_answer_is_cut():
    """No content so far: each byte of the body moved the limit of the first token."""
    with play(limits={"body_timeout": 0.25, "body_min_rate": 1000}, first_byte=60) as script:
        d = script.downstream()
        d.send(post(body=b"x" * 1000, extra=EXPECT)[:-990])
        u = script.upstream()
        u.receive()
        u.send(SSE_HEAD)
        assert d.receive().startswith(b"HTTP/1.1 200 ")
        with suppress(ConnectionResetError):  # a byte may lie unread when it is cut
            for _ in range(900):
                time.sleep(0.01)
                if d.is_closed():
                    break
                d.send(b"x")
                d.receive()
        u.receive()
        assert u.is_closed()
        d.close()
        assert script.outcome() == "downstream/relaying/timeout"
        assert endpoints(script)[0]["failures"] == 0


@pytest.mark.parametrize("rate", [0, 20])
def test_a_slow_body_above_the_least_rate_goes_on(rate):
    with play(limits={"body_timeout": 0.4, "body_min_rate": rate}) as script:
        d, u = connected(script, post(body=b"x" * 60, extra=EXPECT)[:-50])
        assert trickle(script, d, 50)[0] == b""
        assert u.receive().endswith(b"x" * 60)
        u.send(ok())
        assert d.receive().startswith(b"HTTP/1.1 200 ")


def test_no_first_byte_in_time_is_504():
    with play(first_byte=0.25) as script:
        d, u = waiting(script)
        script.wait()
        assert d.receive().startswith(b"HTTP/1.1 504 ")
        assert u.is_closed()
        assert script.outcome() == "upstream/waiting/timeout"


def test_silence_in_mid_response_is_a_cut():
    with play(stream_idle=0.25) as script:
        d, u = streaming(script)
        script.wait()
        assert b'"error"' in d.receive()
        assert d.is_closed()
        assert u.is_closed()
        assert script.outcome() == "upstream/relaying/timeout"


def test_a_reader_who_does_not_read_is_cut_off():
    with play(limits={"write_stall_timeout": 0.2}) as script:
        _, u = waiting(script, get())
        rest = ok(b"x" * 20_000_000)
        while sent := u.send_some(rest):
            rest = rest[sent:]
        assert rest, "backpressure must reach the endpoint"
        while script.counters()["relays"]:
            script.wait()
        assert u.is_closed()
        assert script.outcome() == "downstream/relaying/timeout"


def test_a_queue_that_is_full_or_slow_is_503():
    with play(max_inflight=1, queue=1, queue_timeout=0.05) as script:
        first, second, third = (script.downstream() for _ in range(3))
        first.send(get())
        u = script.upstream()
        u.receive()
        second.send(get())
        third.send(get())
        assert third.receive().startswith(b"HTTP/1.1 503 ")
        script.wait()
        assert second.receive().startswith(b"HTTP/1.1 503 ")
        u.send(ok())
        assert first.receive().endswith(b"ok")


def test_total_ends_a_response_that_goes_on_for_ever():
    with play(total=0.05) as script:
        d, _ = streaming(script, get())
        script.wait()
        assert b'"error"' in d.receive()
        assert d.is_closed()


# ---------------------------------------------------------------- drain and the cap


def test_a_drain_lets_exchanges_finish(script):
    busy, idle = script.downstream(), script.downstream()
    idle.send(get())
    u = script.upstream()
    u.receive()
    u.send(ok())
    idle.receive()
    busy.send(get())
    u.receive()
    script.engine.drain()
    assert idle.is_closed()
    u.send(ok())
    answer = busy.receive()
    assert b"Connection: close\r\n" in answer
    assert answer.endswith(b"ok")
    assert busy.is_closed()
    assert [r["outcome"] for r in script.records()] == ["ok", "ok"]


def test_the_end_of_a_drain_cuts_and_records(script):
    d, u = waiting(script, get())
    script.engine.close_all()
    assert d.receive().startswith(b"HTTP/1.1 503 ")
    assert d.is_closed()
    assert u.is_closed()
    assert script.outcome() == "ourselves/waiting/drained"


def test_the_end_of_a_drain_cuts_a_response_in_its_dialect(script):
    d, u = streaming(script)
    script.engine.close_all()
    assert b"the proxy is shutting down" in d.receive()
    assert d.is_closed()
    assert u.is_closed()
    assert script.outcome() == "ourselves/relaying/drained"


def test_above_the_cap_a_caller_gets_a_polite_503():
    with play(limits={"connections": 2}) as script:
        script.downstream()
        script.downstream()
        third = script.downstream()
        answer = third.receive()
        assert answer.startswith(b"HTTP/1.1 503 ")
        head, body = split_head(answer)
        assert b"Content-Length: %d\r\n" % len(body) in head
        assert third.is_closed()
        assert script.engine.snapshot()["connections"]["refused"] == 1
