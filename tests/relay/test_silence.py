"""An endpoint that is gone: what it owes is ended, what it has not been silent about is not."""

from typing import Any

import pytest

from tests.support.breakers import status
from tests.support.exchanges import waiting
from tests.support.script import SSE_HEAD, Script, chunk, event, get, ok, play, post

AT_ONCE = 0.0  # however short the silence


def ended(script: Script, endpoint: int = 0, after: float = AT_ONCE) -> int:
    script.turn()
    n = script.engine.end_silent(endpoint, seconds=after)
    script.turn()
    return n


def test_a_stream_is_cut_with_an_error_event_and_its_conn_closed():
    with play() as script:
        d, u = waiting(script)
        u.send(SSE_HEAD + chunk(event()))
        assert ended(script) == 1
        answer = d.receive()
        assert b'data: {"error":{"message":"the inference server did not answer in time"' in answer
        assert not answer.endswith(b"0\r\n\r\n"), "never a clean end"
        assert u.is_closed()
        assert script.outcome() == "upstream/relaying/timeout"


@pytest.mark.parametrize("was_idle", [False, True])
def test_who_waits_is_answered_and_nothing_is_sent_twice(was_idle):
    with play(endpoints=2, balance="round_robin", attempts=3) as script:
        script.engine.set_endpoint(1, draining=True)
        d = script.downstream()
        if was_idle:
            d.send(get())
            u = script.upstream()
            u.send(ok())
            d.receive()
            script.records()
        d.send(post())
        u = u if was_idle else script.upstream()
        u.receive()
        script.engine.set_endpoint(1, draining=False)
        assert ended(script) == 1
        assert d.receive().startswith(b"HTTP/1.1 504 ")
        assert not script.has_connected(1)
        assert u.is_closed()
        assert script.outcome() == "upstream/waiting/timeout"


def test_only_what_was_silent_for_so_long_is_ended():
    with play() as script:
        d, u = waiting(script)
        assert ended(script, after=3600.0) == 0
        u.send(ok())
        assert d.receive().endswith(b"ok")


def test_other_endpoints_go_on():
    with play(endpoints=2, balance="round_robin") as script:
        callers = [script.downstream() for _ in range(2)]
        for d in callers:
            d.send(post())
        script.upstream(0).receive()
        assert ended(script, 0) == 1
        assert callers[0].receive().startswith(b"HTTP/1.1 504 ")
        script.upstream(1).send(ok())
        assert callers[1].receive().endswith(b"ok")


def test_a_caller_who_uploads_or_does_not_read_is_owed_nothing():
    with play() as script:
        slow = script.downstream()
        slow.send(post(body=b"12345", extra=b"Expect: 100-continue\r\n")[:-2])
        script.upstream().receive()
        _, u = waiting(script, get())
        rest = ok(b"x" * 20_000_000)
        while sent := u.send_some(rest):
            rest = rest[sent:]
        assert ended(script) == 0
        slow.close()


def hedged(script: Script) -> tuple[Any, Any, Any]:
    d, first = waiting(script)
    script.wait()
    second = script.upstream(1)
    second.receive()
    return d, first, second


@pytest.mark.parametrize("gone", [0, 1])
def test_of_two_attempts_the_other_goes_on(gone):
    with play(endpoints=2, balance="round_robin", hedge_after=0.02, hedge_budget=1.0) as script:
        d, first, second = hedged(script)
        assert ended(script, gone) == 1
        alive = second if gone == 0 else first
        assert (first if gone == 0 else second).is_closed()
        alive.send(ok())
        assert d.receive().endswith(b"ok")
        assert script.outcome() == "ok"
        found = {e["url"]: e["failures"]
                 for e in script.engine.snapshot()["upstreams"][0]["endpoints"]}  # fmt: skip
        assert found[f"http://up{gone}"] == 1


def test_it_counts_against_the_endpoint_and_nobody_else():
    with play() as script:
        d = script.downstream()
        d.send(post())
        script.upstream().receive()
        ended(script)
        d.receive()
        (sample,) = script.engine.health_sample()
        assert (sample["inflight"], sample["owed"]) == (0, 0)
        assert sample["breaker"]["in_a_row"] == 0, "no breaker: nothing is counted"
        assert script.engine.snapshot()["upstreams"][0]["endpoints"][0]["failures"] == 1
        d = script.downstream()
        d.send(get())
        script.upstream().send(status(404))
        assert d.receive().startswith(b"HTTP/1.1 404 ")
