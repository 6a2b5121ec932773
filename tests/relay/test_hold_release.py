"""Those that have waited for an endpoint are let go within its limits, in their order."""

from tests.support.breakers import state, status, terms
from tests.support.holding import callers, down, holding, queued, up
from tests.support.keys import row, shows
from tests.support.script import get, ok, play


def taken(script):
    """Upstream conns that were opened, until no more is."""
    found = []
    while script.has_connected():
        found.append(script.upstream())
    return found


def test_the_limit_of_an_endpoint_holds():
    with play(hold_when_down=60.0, max_inflight=2) as script:
        found = down(script, 5)
        up(script)
        assert len(taken(script)) == 2
        assert queued(script) == 3
        for d in found:
            d.close()


def test_without_slow_start_all_go_at_once():
    with play(hold_when_down=60.0) as script:
        down(script, 5)
        up(script)
        assert len(taken(script)) == 5
        assert queued(script) == 0


def test_an_endpoint_that_starts_slowly_gets_them_bit_by_bit():
    with play(hold_when_down=60.0, breaker=terms(slow_start=3600.0)) as script:
        down(script, 8)
        up(script)
        assert len(taken(script)) == 1
        assert (queued(script), holding(script)["now"]) == (7, 0)


def test_the_rest_is_let_go_with_time():
    with play(hold_when_down=60.0, breaker=terms(slow_start=0.3)) as script:
        found = down(script, 8)
        up(script)
        conns = taken(script)
        assert len(conns) < 8
        while len(conns) < 8:
            script.wait()
            conns += taken(script)
        for u in conns:
            u.send(ok())
        for d in found:
            assert d.receive().endswith(b"ok")


def test_newcomers_queue_behind_those_that_wait():
    with play(hold_when_down=60.0, breaker=terms(slow_start=0.3)) as script:
        down(script, 4)
        up(script)
        late = script.downstream()
        late.send(get(b"/late"))
        conns = taken(script)
        while len(conns) < 5:
            script.wait()
            conns += taken(script)
        assert [b"/late" in u.receive() for u in conns] == [False] * 4 + [True]


def test_the_higher_priority_goes_first():
    with play(hold_when_down=60.0, max_inflight=1) as script:
        script.engine.set_keys([row("low", priority=9), row("high", priority=0)])
        script.engine.set_endpoint(0, up=False)
        callers(script, 2, extra=shows("low"))
        first = script.downstream()
        first.send(get(b"/high", shows("high")))
        up(script)
        u = script.upstream()
        assert b"GET /high " in u.receive()
        u.send(ok())
        assert first.receive().endswith(b"ok")
        assert b"GET /0 " in u.receive()


def test_a_half_open_breaker_is_proven_first():
    """Two endpoints, so that a breaker may open. Then the other one goes, too."""
    with play(endpoints=2, hold_when_down=60.0, breaker=terms(failures=1)) as script:
        script.engine.set_endpoint(1, weight=1)
        script.engine.set_endpoint(0, weight=1_000_000)
        (d,) = callers(script, 1, extra=b"Connection: close\r\n")
        u = script.upstream()
        u.send(status(500))
        d.receive()
        assert state(script) == "open"
        script.engine.set_endpoint(0, up=False)
        script.engine.set_endpoint(1, up=False)
        found = callers(script, 3)
        assert queued(script) == 3
        up(script)
        (probe,) = taken(script)
        assert (state(script), queued(script)) == ("half_open", 2)
        probe.send(ok())
        assert found[0].receive().endswith(b"ok")
        assert state(script) == "closed"
        assert len(taken(script)) + probe.receive().count(b"GET ") - 1 >= 1
        assert queued(script) == 0


def test_a_deadline_counts_anew_from_the_return():
    """Hold is over: from then on it is the wait for a permit."""
    with play(hold_when_down=60.0, queue_timeout=0.05, max_inflight=1) as script:
        first, second = down(script, 2)
        up(script)
        u = script.upstream()
        script.wait()
        assert second.receive().startswith(b"HTTP/1.1 503 ")
        u.send(ok())
        assert first.receive().endswith(b"ok")
        assert sorted(r["outcome"] for r in script.records()) == ["ok", "ourselves/queued/overload"]
