"""Refused callers and the moment at which they are to come again; the patience of callers."""

import re
import time

import pytest

from tests.support.breakers import status
from tests.support.exchanges import waiting
from tests.support.holding import callers, queued
from tests.support.keys import row, shows
from tests.support.script import get, ok, play, post, split_head

AGAIN = b"X-Stainless-Retry-Count: 1\r\n"


def told(d):
    """(status, Retry-After, retry-after-ms, x-should-retry) of an answer; None: it is not there."""
    head, _ = split_head(d.receive())

    def value(name):
        found = re.findall(rb"(?i)\r\n%s: ([^\r]*)\r\n" % name, head)
        assert len(found) <= 1
        return found[0].decode() if found else None

    after, ms = value(b"retry-after"), value(b"retry-after-ms")
    return int(head.split()[1]), after and int(after), ms and int(ms), value(b"x-should-retry")


def refusals(script, n, extra=b""):
    """Answers to so many callers, one after the other, as `told` has them."""
    found = []
    for _ in range(n):
        d = script.downstream()
        d.send(get(extra=extra))
        found.append(told(d))
        d.close()
    return found


def full(script, extra=b""):
    """One request runs, one waits: the queue of one is full. (caller, endpoint, waiting caller)"""
    d, u = waiting(script, get(extra=extra))
    (other,) = callers(script, 1, extra=extra)
    return d, u, other


def test_the_two_fields_name_one_moment_that_is_spread():
    with play() as script:
        script.engine.set_endpoint(0, up=False)
        found = refusals(script, 60)
        assert {(code, after, should) for code, after, _, should in found} == {(503, 1, None)}
        ms = [ms for _, _, ms, _ in found]
        assert all(750 <= k <= 1250 for k in ms)
        assert len(set(ms)) > 20


def test_a_lost_endpoint_is_told_with_a_502():
    with play() as script:
        script.refuse()
        ((code, after, ms, should),) = refusals(script, 1)
        assert (code, after, should) == (502, 1, None)
        assert 750 <= ms <= 1250


def test_an_answer_of_the_endpoint_is_passed_on_as_it_is():
    with play() as script:
        d, u = waiting(script)
        u.send(status(503))
        assert told(d) == (503, None, None, None)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (post(extra=b"Transfer-Encoding: gzip\r\n").replace(b"Content-Length: 2\r\n", b""), 501),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ],
)
def test_where_the_next_try_ends_the_same_none_is_asked_for(request_, code):
    with play() as script:
        d = script.downstream()
        d.send(request_)
        assert told(d) == (code, None, None, "false")


def test_a_request_at_fault_says_it_with_its_status():
    with play() as script:
        d = script.downstream()
        d.send(b"GET / HTTP/1.1\r\n\r\n")
        assert told(d) == (400, None, None, None)


def test_a_quota_is_waited_for_where_that_is_short():
    with play() as script:
        script.engine.set_keys([row("k", requests=2)])
        for d in callers(script, 2, extra=shows("k")):
            script.upstream()
            d.close()
        ((code, after, ms, should),) = refusals(script, 1, shows("k"))
        assert (code, should) == (429, None)
        assert 1 <= after <= 38
        assert after * 1000 - 500 <= ms <= after * 1000 + 499


def test_a_quota_that_is_exhausted_for_long_is_not_worth_a_retry():
    usage = b'{"usage":{"prompt_tokens":7000,"completion_tokens":50,"total_tokens":7050}}'
    with play() as script:
        script.engine.set_keys([row("k", tokens=1000)])
        d, u = waiting(script, post(extra=shows("k")))
        u.send(ok(usage, extra=b"Content-Type: application/json\r\n"))
        d.receive()
        ((code, after, ms, should),) = refusals(script, 1, shows("k"))
        assert (code, should) == (429, "false")
        assert 60 < after <= 600
        assert ms == after * 1000


def test_callers_that_find_the_queue_full_come_again_one_after_the_other():
    """At last the moment is too far away; those of another tenant have a row of their own."""
    with play(max_inflight=1, queue=1) as script:
        script.engine.set_keys([row("a", tenant="a"), row("b", tenant="b")])
        full(script, shows("a"))
        time.sleep(0.06)
        found = refusals(script, 4, shows("a"))
        assert [(code, should) for code, _, _, should in found] == [(503, None)] * 4
        while found[-1][3] is None:
            found += refusals(script, 1, shows("a"))
            assert len(found) < 400
        assert all(after <= 60 and ms <= 60_000 for _, after, ms, should in found if not should)
        assert found[-1][1] >= 60
        assert found[-1][2] > 60_000
        ((code, after, _, should),) = refusals(script, 1, shows("b"))
        assert (code, should) == (503, None)
        assert after < 60


def test_without_steering_it_is_as_plain_as_can_be():
    with play(max_inflight=1, queue=1, steer_retries=False) as script:
        full(script)
        assert refusals(script, 2, AGAIN) == [(503, 1, None, None)] * 2
        assert script.engine.snapshot()["upstreams"][0]["caller_retries"] == 2


def test_retries_wait_behind_first_attempts():
    with play(max_inflight=1) as script:
        d, u = waiting(script, get())
        again, first = script.downstream(), script.downstream()
        again.send(get(b"/again", AGAIN))
        first.send(get(b"/first", b"x-stainless-retry-count: 0\r\n"))
        u.send(ok())
        assert b"GET /first " in u.receive()
        u.send(ok())
        assert b"GET /again " in u.receive()
        assert script.engine.snapshot()["upstreams"][0]["caller_retries"] == 1
        d.close()


def test_the_fields_of_the_sdks_are_passed_on():
    extra = AGAIN + b"X-Stainless-Timeout: 600\r\nx-stainless-read-timeout: 600\r\n"
    with play() as script:
        d = script.downstream()
        d.send(get(extra=extra))
        got = script.upstream().receive()
        assert all(line in got for line in extra.split(b"\r\n"))


# ---------------------------------------------------------------- patience


def paced(script):
    """A queue whose pace is known: one request runs, and two have waited before it."""
    d, u = waiting(script, get())
    first, second = callers(script, 2)
    for caller in (d, first):
        time.sleep(0.02)
        u.send(ok())
        assert caller.receive().endswith(b"ok")
    u.receive()
    return second, u


@pytest.mark.parametrize("name", [b"X-Stainless-Timeout", b"x-stainless-read-timeout"])
@pytest.mark.parametrize("value", [b"0.001", b"0.0190000001"[:11]])
def test_who_cannot_be_served_in_time_is_refused_at_once(name, value):
    with play(max_inflight=1) as script:
        paced(script)
        d = script.downstream()
        d.send(get(extra=b"%s: %s\r\n" % (name, value)))
        head, body = split_head(d.receive())
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"within this caller's timeout" in body
        assert b"\r\nretry-after-ms: " in head
        assert script.engine.snapshot()["upstreams"][0]["too_late"] == 1
        assert queued(script) == 0


@pytest.mark.parametrize(
    "value", [b"600", b"600.0", b"None", b"1e-05", b"-1", b"0", b"0.0", b"", b".5", b"5.",
              b"0.001x", b"0.0000000001", b"99999999999999999999", b"86401", b"0x1", b"inf"]
)  # fmt: skip
def test_who_has_time_or_tells_nothing_readable_waits(value):
    with play(max_inflight=1) as script:
        paced(script)
        callers(script, 1, extra=b"x-stainless-read-timeout: %s\r\n" % value)
        assert queued(script) == 1


def test_a_field_that_occurs_twice_tells_nothing():
    with play(max_inflight=1) as script:
        paced(script)
        callers(script, 1, extra=b"x-stainless-read-timeout: 0.001\r\n" * 2)
        assert queued(script) == 1


def test_a_deadline_can_be_left_out_of_account():
    with play(max_inflight=1, caller_deadline=False) as script:
        paced(script)
        callers(script, 1, extra=b"x-stainless-read-timeout: 0.001\r\n")
        assert queued(script) == 1


def test_a_free_permit_asks_for_no_deadline():
    with play(max_inflight=1) as script:
        _, u = waiting(script, get(extra=b"x-stainless-read-timeout: 0.000000001\r\n"))
        assert not u.is_closed()


def test_who_waits_is_refused_when_its_caller_leaves_anyway():
    with play(max_inflight=1) as script:
        waiting(script, get())
        (d,) = callers(script, 1, extra=b"x-stainless-timeout: 0.05\r\n")
        assert queued(script) == 1
        script.wait()
        assert d.receive().startswith(b"HTTP/1.1 503 ")
        assert script.outcome() == "ourselves/queued/overload"


def test_nobody_is_hedged_whose_caller_has_left():
    patience = b"x-stainless-read-timeout: 0.01\r\n"
    with play(endpoints=2, hedge_after=0.02, hedge_budget=1.0) as script:
        waiting(script, get(extra=patience))
        time.sleep(0.06)
        assert not script.has_connected(1)


def test_nothing_is_sent_again_for_a_caller_that_has_left():
    patience = b"x-stainless-read-timeout: 0.01\r\n"
    with play(endpoints=2, retry_on_busy=True) as script:
        d, u = waiting(script, get(extra=patience))
        time.sleep(0.02)
        u.send(status(503))
        assert told(d)[0] == 503
        assert not script.has_connected(1)
