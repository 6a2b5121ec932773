"""Idle conns: the one that is used next, their idle time, and what an endpoint teaches."""

import pytest

from tests.support.exchanges import connected
from tests.support.pools import endpoint, exchange_on, finish_exchange, first, pool
from tests.support.script import get, ok, play

# ---------------------------------------------------------------- which conn


def test_the_conn_that_was_idle_least_is_used_first():
    with play() as script:
        callers = [script.downstream() for _ in range(3)]
        for d in callers:
            d.send(get())
        ups = [script.upstream() for _ in range(3)]
        for u, d in zip(ups, callers, strict=True):
            finish_exchange(d, u, b"")
        for u in reversed(ups):
            callers[0].send(get())
            assert u.receive().startswith(b"GET ")
            callers = [*callers[1:], callers[0]]


def test_a_conn_serves_no_more_than_it_may():
    with play(max_requests=2) as script:
        d, u = first(script)
        exchange_on(script, u, d)
        assert u.is_closed()
        assert pool(script)["closed"]["age"] == 1


def test_a_conn_that_is_too_old_is_not_kept():
    with play(max_age=1e-9) as script:
        _, u = first(script)
        assert u.is_closed()
        assert pool(script)["closed"]["age"] == 1


def test_a_long_request_goes_out_on_a_new_conn():
    """It cannot be held, so it could not be sent again if the idle conn were dead."""
    with play() as script:
        d, _ = first(script)
        d.send_some(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900000)
        assert script.has_connected()


def test_how_conns_ended_is_counted():
    with play(idle_timeout=0.02) as script:
        _, u = first(script)
        assert endpoint(script)["connections"] == 1
        script.wait()
        assert u.is_closed()
        d, u = connected(script, get())
        u.send(ok(extra=b"Connection: close\r\n"))
        d.receive()
        assert pool(script)["closed"] == {
            "endpoint": 0, "idle": 1, "age": 0, "surplus": 0, "exchange": 1,
        }  # fmt: skip
        assert endpoint(script)["connections"] == 0


# ---------------------------------------------------------------- Keep-Alive and closes


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        (b"timeout=5, max=100", 3.0),
        (b"max=100,timeout=10", 6.0),
        (b"TIMEOUT=1", 0.6),
        (b"timeout=3600", 60.0),
        (b"timeout=99999999999", 60.0),
        (b"timeout=", 60.0),
        (b"timeout=x", 60.0),
        (b"timeout=-1", 60.0),
        (b"timeouts=1", 60.0),
        (b"", 60.0),
    ],
)
def test_a_rest_is_no_longer_than_the_safe_share_of_what_is_said(said, limit):
    with play(idle_timeout=60.0) as script:
        first(script, b"Keep-Alive: " + said + b"\r\n")
        assert pool(script)["idle_limit_s"] == pytest.approx(limit)


def test_keep_alive_fields_are_not_passed_on():
    with play() as script:
        d = script.downstream()
        d.send(get())
        script.upstream().send(ok(extra=b"Keep-Alive: timeout=5\r\nConnection: keep-alive\r\n"))
        assert b"eep-" not in d.receive()


def test_where_nothing_is_learned_keep_alive_fields_do_not_count():
    with play(idle_timeout=60.0, keep_alive="fixed") as script:
        d, u = first(script, b"Keep-Alive: timeout=0, max=1\r\n")
        exchange_on(script, u, d)
        u.close()
        assert pool(script)["idle_limit_s"] == 60.0


def test_a_conn_is_given_up_before_its_last_request():
    """cpp-httplib sends max=100 with every answer and closes after the 100th."""
    with play() as script:
        d, u = first(script, b"Keep-Alive: timeout=5, max=5\r\n")
        for _ in range(3):
            assert not u.is_closed()
            exchange_on(script, u, d, b"Keep-Alive: timeout=5, max=5\r\n")
        assert u.is_closed()


@pytest.mark.parametrize("said", [b"max=1", b"max=0", b"timeout=0"])
def test_a_conn_that_may_not_be_idle_is_not_used_again(said):
    with play() as script:
        d, u = first(script, b"Keep-Alive: " + said + b"\r\n")
        d.send(get())
        script.upstream()
        assert u.is_closed()


def test_a_conn_the_endpoint_closed_teaches_a_shorter_idle_time():
    with play() as script:
        d, u = first(script)
        u.close()
        assert pool(script)["seen_idle_s"] == pool(script)["idle_limit_s"] == 0.5
        assert pool(script)["closed"]["endpoint"] == 1
        d.send(get())
        finish_exchange(d, script.upstream(), b"")


def test_an_endpoint_that_refuses_is_forgotten():
    with play() as script:
        d, u = first(script, b"Keep-Alive: timeout=2\r\n")
        u.close()
        script.refuse()
        d.send(get())
        assert d.receive().startswith(b"HTTP/1.1 502 ")
        assert pool(script)["idle_limit_s"] == 3.0
