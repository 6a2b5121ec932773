"""Permits on the wire: limits per endpoint, requests that wait, limits that adapt themselves."""

from tests.support.breakers import status, terms
from tests.support.exchanges import connected
from tests.support.script import SSE_HEAD, change, chunk, event, get, ok, play, post


def upstream(script):
    return script.engine.snapshot()["upstreams"][0]


def begin(script, n):
    callers = [script.downstream() for _ in range(n)]
    for k, d in enumerate(callers):
        d.send(get(b"/%d" % k))
    return callers


def test_each_endpoint_has_a_limit_of_its_own():
    with play(max_inflight=2, endpoints=2) as script:
        callers = begin(script, 5)
        ups = [script.upstream(e) for e in (0, 0, 1, 1)]
        assert not any(script.has_connected(e) for e in (0, 1))
        assert upstream(script)["queued"] == 1
        for u in ups:
            u.send(ok())
        for d in callers[:4]:
            assert d.receive().endswith(b"ok")
        for u in ups:
            if u.receive().count(b"GET ") == 2:
                u.send(ok())
        assert callers[4].receive().endswith(b"ok")


def test_an_endpoint_out_of_rotation_lends_no_permits():
    with play(max_inflight=2, endpoints=2) as script:
        script.engine.set_endpoint(1, up=False)
        begin(script, 3)
        assert upstream(script)["queued"] == 1
        script.engine.set_endpoint(1, up=True)
        script.upstream(1).send(ok())
        assert upstream(script)["queued"] == 0


def test_with_no_endpoint_in_rotation_nobody_waits_for_a_permit():
    with play(max_inflight=1) as script:
        callers = begin(script, 2)
        u = script.upstream()
        script.engine.set_endpoint(0, up=False)
        assert callers[1].receive().startswith(b"HTTP/1.1 503 ")
        u.send(ok())
        assert callers[0].receive().endswith(b"ok")


def test_the_queue_of_an_only_endpoint_goes_on_however_it_fails():
    with play(max_inflight=1, breaker=terms(failures=1, open_for=3600.0)) as script:
        callers = begin(script, 3)
        u = script.upstream()
        for d in callers:
            u.send(status(500))
            assert d.receive().startswith(b"HTTP/1.1 500 ")
        assert [r["outcome"] for r in script.records()] == ["ok"] * 3


def test_a_late_first_token_lowers_the_limit_of_its_endpoint():
    with play(max_inflight=10, ttft_target=1e-9) as script:
        d, u = connected(script)
        u.send(SSE_HEAD + chunk(event()))
        assert upstream(script)["endpoints"][0]["limit"] == 9
        assert upstream(script)["endpoints"][0]["limit_cuts"] == 1
        u.send(b"0\r\n\r\n")
        d.receive()


def test_first_tokens_in_time_let_more_in():
    with play(max_inflight=100, min_inflight=1, ttft_target=1e-9) as script:
        for _ in range(60):
            d, u = connected(script, post(extra=b"Connection: close\r\n"))
            u.send(SSE_HEAD + chunk(event()) + b"0\r\n\r\n")
            d.receive()
            d.close()
            u.close()
        assert upstream(script)["endpoints"][0]["limit"] == 1
        change(script, max_inflight=100, min_inflight=1, ttft_target=3600.0)
        callers = [script.downstream() for _ in range(2)]
        for d in callers:
            d.send(post())
        u = script.upstream()
        assert not script.has_connected()
        u.send(SSE_HEAD + chunk(event()))
        assert upstream(script)["endpoints"][0]["limit"] == 2
        v = script.upstream()
        for each in (u, v):
            each.send(b"0\r\n\r\n" if each is u else SSE_HEAD + b"0\r\n\r\n")
        for d in callers:
            assert d.receive().endswith(b"0\r\n\r\n")


def test_what_the_queue_is_too_small_for_is_refused_at_once():
    with play(max_inflight=1, queue=2) as script:
        callers = begin(script, 4)
        found = callers[3].receive()
        assert found.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in found
        u = script.upstream()
        for d in callers[:3]:
            u.receive()
            u.send(ok())
            assert d.receive().endswith(b"ok")
        assert upstream(script)["displaced"] == 0
