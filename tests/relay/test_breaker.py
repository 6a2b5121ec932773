"""Breakers on the wire: what opens one, what half open means, what callers get meanwhile."""

from collections import Counter

import pytest

from tests.support.breakers import (
    endpoints,
    exchange_once,
    goes_elsewhere,
    let_through,
    moves,
    open_it,
    pair,
    state,
    status,
    terms,
)
from tests.support.exchanges import connected, waiting
from tests.support.script import SSE_HEAD, change, chunk, event, get, ok, play, post
from zeroproxy._fast.engine.enum_names import BALANCES

# ---------------------------------------------------------------- what counts


def test_5xx_in_a_row_open_it_and_callers_go_elsewhere():
    with pair(breaker=terms(open_for=7.0)) as script:
        for _ in range(3):
            assert state(script) == "closed"
            assert exchange_once(script, status(500)).startswith(b"HTTP/1.1 500 ")
        assert state(script) == "open"
        assert goes_elsewhere(script)
        assert moves(script) == (0, 0, 1)


@pytest.mark.parametrize("code", [400, 401, 404, 422, 429, 501, 503])
def test_what_is_the_callers_fault_or_says_busy_does_not_count(code):
    with play(breaker=terms()) as script:
        for _ in range(8):
            exchange_once(script, status(code))
        assert state(script) == "closed"
        assert endpoints(script)[0]["breaker"]["in_a_row"] == 0


def test_4xx_between_failures_does_not_hide_them():
    with pair(breaker=terms()) as script:
        for code in (500, 400, 500, 404, 500):
            exchange_once(script, status(code))
        assert state(script) == "open"


def test_busy_counts_where_it_was_asked_for():
    with pair(breaker=terms(count_busy=True, failures=1)) as script:
        exchange_once(script, status(503))
        assert state(script) == "open"


def test_refused_connections_open_it():
    with pair(breaker=terms(), attempts=1) as script:
        script.refuse()
        for _ in range(3):
            d = script.downstream()
            d.send(get())
            assert d.receive().startswith(b"HTTP/1.1 502 ")
        assert goes_elsewhere(script)


@pytest.mark.parametrize("how", ["reset", "close", "garbage", "cut"])
def test_attempts_that_end_badly_open_it(how):
    with pair(breaker=terms(), attempts=1) as script:
        for _ in range(3):
            d, u = waiting(script)
            if how == "cut":
                u.send(SSE_HEAD + chunk(event()))
            if how == "garbage":
                u.send(b"SSH-2.0-x\r\n")
            elif how == "reset":
                u.reset()
            else:
                u.close()
            d.receive()
        assert state(script) == "open"


def test_a_first_byte_that_never_comes_counts():
    with pair(breaker=terms(failures=1), first_byte=0.05) as script:
        d = script.downstream()
        d.send(get())
        script.upstream().receive()
        script.wait()
        assert d.receive().startswith(b"HTTP/1.1 504 ")
        assert state(script) == "open"


def test_a_caller_who_leaves_is_no_failure():
    with pair(breaker=terms(failures=1)) as script:
        for head in (b"", SSE_HEAD + chunk(event())):
            d, u = waiting(script)
            if head:
                u.send(head)
            d.close()
            assert u.is_closed()
        assert state(script) == "closed"


def test_a_stale_idle_conn_is_no_failure():
    with pair(breaker=terms(failures=1)) as script:
        d, u = connected(script, get())
        u.send(ok())
        d.receive()
        d.send(get())
        u.receive()
        u.reset()
        script.upstream(1).send(ok(b"2"))
        assert d.receive().endswith(b"2")
        assert state(script) == "closed"


def test_what_a_retry_saved_counts_all_the_same():
    with play(endpoints=2, balance="round_robin", breaker=terms(failures=1)) as script:
        script.refuse(0)
        d = script.downstream()
        d.send(get())
        script.upstream(1).send(ok())
        assert d.receive().endswith(b"ok")
        assert state(script, 0) == "open"
        assert state(script, 1) == "closed"


def test_nothing_counts_when_it_is_off():
    with pair(breaker=terms(failures=0)) as script:
        for _ in range(10):
            exchange_once(script, status(500))
        assert moves(script) == (0, 0, 0)


# ---------------------------------------------------------------- half open


def test_half_open_lets_one_through_and_closes_with_its_first_byte():
    with pair(breaker=terms()) as script:
        open_it(script)
        d, u = let_through(script)
        assert state(script) == "half_open"
        assert goes_elsewhere(script)
        u.send(SSE_HEAD)
        assert goes_elsewhere(script), "a head without an event proves nothing"
        u.send(chunk(event()))
        assert state(script) == "closed"
        exchange_once(script, ok())
        u.send(b"0\r\n\r\n")
        assert d.receive().endswith(b"0\r\n\r\n")
        assert moves(script) == (1, 1, 1)


def test_a_probe_that_fails_opens_it_for_longer():
    with pair(breaker=terms()) as script:
        open_it(script)
        for trips in (2, 3):
            _, u = let_through(script)
            u.send(status(502))
            u.close()
            assert state(script) == "open"
            assert endpoints(script)[0]["breaker"]["trips"] == trips


@pytest.mark.parametrize("code", [429, 503])
def test_a_probe_that_is_answered_busy_is_released(code):
    with pair(breaker=terms()) as script:
        open_it(script)
        d, u = let_through(script)
        u.send(status(code))
        assert d.receive()
        u.close()
        assert state(script) == "half_open"
        _, u = let_through(script)
        u.send(ok())
        assert state(script) == "closed"


def test_a_probe_whose_caller_leaves_is_released():
    with pair(breaker=terms()) as script:
        open_it(script)
        d, _ = let_through(script)
        d.close()
        assert state(script) == "half_open"
        _, u = let_through(script)
        u.send(status(404))
        assert state(script) == "closed"


def test_as_many_probes_as_were_asked_for_go_through():
    with pair(breaker=terms(half_open_probes=3)) as script:
        open_it(script)
        peers = [let_through(script)]
        for _ in range(2):
            d = script.downstream()
            d.send(get())
            peers.append((d, script.upstream()))
        assert goes_elsewhere(script)
        for _, u in peers[:2]:
            u.send(ok())
            assert state(script) == "half_open"
        peers[2][1].send(ok())
        assert state(script) == "closed"


def test_what_was_under_way_when_it_opened_does_not_open_it_again():
    with pair(breaker=terms(), attempts=1) as script:
        callers = [script.downstream() for _ in range(6)]
        for d in callers:
            d.send(post())
        old = [script.upstream() for _ in callers]
        for u in old[:3]:
            u.close()
        assert state(script) == "open"
        _, new = let_through(script)
        new.send(ok())
        for u in old[3:]:
            u.close()
        assert state(script) == "closed"
        assert moves(script) == (1, 1, 1)


# ---------------------------------------------------------------- which endpoint


def test_an_open_endpoint_gets_nothing_while_another_is_there():
    with play(
        endpoints=2, balance="round_robin", breaker=terms(failures=1, open_for=60.0)
    ) as script:
        exchange_once(script, status(500), endpoint=0)
        for _ in range(6):
            exchange_once(script, ok(), endpoint=1)
        assert not script.has_connected(0)


@pytest.mark.parametrize("balance", sorted({*BALANCES} - {"power_of_two"}))  # begins with either
def test_a_fast_503_does_not_attract_traffic(balance):
    with play(endpoints=2, balance=balance, breaker=terms()) as script:
        exchange_once(script, status(503), endpoint=0)
        for _ in range(6):
            exchange_once(script, ok(), endpoint=1)
        script.engine.set_endpoint(1, up=False)
        exchange_once(script, ok(), endpoint=0)


@pytest.mark.parametrize("balance", BALANCES)
def test_an_endpoint_that_comes_back_begins_with_a_small_share(balance):
    with play(endpoints=2, balance=balance, breaker=terms(slow_start=3600.0)) as script:
        script.engine.set_endpoint(0, up=False)
        script.engine.set_endpoint(0, up=True)
        served: Counter[int] = Counter()
        for _ in range(128):
            d = script.downstream()
            d.send(get(extra=b"Connection: close\r\n"))
            (which,) = [k for k in (0, 1) if script.has_connected(k)]
            u = script.upstream(which)
            u.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            d.receive()
            u.close()
            d.close()
            served[which] += 1
        assert 1 <= served[0] <= 4, "a thirty-second part of its turns"
        script.engine.set_endpoint(1, up=False)
        exchange_once(script, ok(), endpoint=0)


def test_one_that_health_puts_back_need_not_wait_for_its_breaker():
    with pair(breaker=terms(open_for=3600.0)) as script:
        open_it(script)
        assert goes_elsewhere(script)
        script.engine.set_endpoint(0, up=False)
        script.engine.set_endpoint(0, up=True)
        exchange_once(script, ok())
        assert state(script) == "closed"


def test_a_reload_that_switches_breakers_off_closes_them():
    with pair(breaker=terms(open_for=3600.0)) as script:
        open_it(script)
        change(script, balance="round_robin", breaker=terms(failures=0))
        exchange_once(script, ok())
        assert state(script) == "closed"
