"""max_connections: a request waits in order for a conn where every endpoint is at its cap."""

from msgspec.structs import replace

from tests.support.breakers import status, terms
from tests.support.exchanges import waiting
from tests.support.pools import endpoint, finish_exchange
from tests.support.script import get, ok, play, split_head
from tests.support.settings import POOL


def test_at_the_cap_exchanges_wait_in_order():
    with play(max_connections=1) as script:
        callers = [script.downstream() for _ in range(4)]
        for k, d in enumerate(callers):
            d.send(get(b"/%d" % k))
        u = script.upstream()
        assert not script.has_connected()
        assert script.engine.snapshot()["upstreams"][0]["waiting"] == 3
        for k, d in enumerate(callers):
            assert u.receive().startswith(b"GET /%d " % k)
            u.send(ok(b"%d" % k))
            assert d.receive().endswith(b"\r\n\r\n%d" % k)
        found = script.engine.snapshot()["upstreams"][0]
        assert (found["waiting"], found["waited"]) == (0, 3)
        assert endpoint(script)["connects"] == 1
        assert [r["tried"] for r in script.records()] == [1, 1, 1, 1]


def test_a_conn_that_ends_makes_place_for_a_new_one():
    with play(max_connections=1) as script:
        one, two = script.downstream(), script.downstream()
        one.send(get())
        two.send(get())
        u = script.upstream()
        u.send(ok(extra=b"Connection: close\r\n"))
        assert one.receive().endswith(b"ok")
        script.upstream().send(ok(b"two"))
        assert two.receive().endswith(b"two")


def test_an_endpoint_with_a_free_conn_is_used_before_any_request_waits():
    with play(max_connections=1, endpoints=2, balance="round_robin") as script:
        for _ in range(2):
            script.downstream().send(get())
        script.upstream(0), script.upstream(1)
        script.engine.set_endpoint(0, weight=9)
        script.downstream().send(get())
        assert script.engine.snapshot()["upstreams"][0]["waiting"] == 1


def test_who_leaves_the_line_never_touches_the_endpoint():
    with play(max_connections=1) as script:
        one, two, three = (script.downstream() for _ in range(3))
        for d in (one, two, three):
            d.send(get())
        u = script.upstream()
        two.close()
        u.send(ok())
        assert one.receive().endswith(b"ok")
        u.receive()
        u.send(ok(b"three"))
        assert three.receive().endswith(b"three")
        assert [r["outcome"] for r in script.records()].count("ok") == 2


def test_the_line_has_an_end_in_time_and_in_length():
    with play(max_connections=1, queue=1, queue_timeout=0.02) as script:
        callers = [script.downstream() for _ in range(3)]
        for d in callers:
            d.send(get())
        script.upstream()
        head, body = split_head(callers[2].receive())
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in head
        script.wait()
        head, body = split_head(callers[1].receive())
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"too many requests are waiting" in body
        assert endpoint(script)["connect_failures"] == endpoint(script)["failures"] == 0
        outcomes = {r["outcome"] for r in script.records()}
        assert outcomes == {"ourselves/connecting/overload"}


def test_a_cap_that_is_raised_lets_who_waits_go_on():
    with play(max_connections=1) as script:
        for _ in range(3):
            script.downstream().send(get())
        script.upstream()
        script.engine.set_pool(0, settings=replace(POOL, max_connections=0))
        script.upstream(), script.upstream()


def test_a_dead_conn_at_the_cap_is_replaced_within_it():
    with play(max_connections=2) as script:
        callers = [script.downstream() for _ in range(2)]
        for d in callers:
            d.send(get())
        ups = [script.upstream() for _ in range(2)]
        for u, d in zip(ups, callers, strict=True):
            finish_exchange(d, u, b"")
        callers[0].send(get())
        ups[1].close()
        script.upstream().send(ok(b"new"))
        assert callers[0].receive().endswith(b"new")
        assert endpoint(script)["connections"] <= 2


def test_of_many_endpoints_the_one_with_a_free_conn_is_found():
    with play(max_connections=1, endpoints=4) as script:
        for _ in range(4):
            script.downstream().send(get())
        ups = [script.upstream(k) for k in range(4)]
        for k in (2, 0, 3, 1):
            d = script.downstream()
            d.send(get())
            ups[k].send(ok(b"first"))
            assert ups[k].receive().count(b"GET ") == 2
            ups[k].send(ok(b"second"))
            assert d.receive().endswith(b"second")
            script.downstream().send(get())


def test_who_waits_for_an_endpoint_that_leaves_is_told_so():
    with play(max_connections=1) as script:
        script.downstream().send(get())
        u = script.upstream()
        d = script.downstream()
        d.send(get())
        script.engine.set_endpoint(0, up=False)
        assert d.receive().startswith(b"HTTP/1.1 503 ")
        u.send(ok())
        assert {r["outcome"] for r in script.records()} == {"upstream/connecting/no_endpoint", "ok"}


def test_who_waits_for_the_only_endpoint_gets_it_however_it_fails():
    with play(max_connections=1, breaker=terms(failures=1, open_for=60.0)) as script:
        callers = [script.downstream() for _ in range(3)]
        for d in callers:
            d.send(get())
        assert script.engine.snapshot()["upstreams"][0]["waiting"] == 2
        u = script.upstream()
        u.send(status(500))
        assert callers[0].receive().startswith(b"HTTP/1.1 500 ")
        for d, answer in zip(callers[1:], (status(502), ok()), strict=True):
            u.send(answer)
            assert d.receive().startswith(answer[:12])
        found = script.engine.snapshot()["upstreams"][0]
        assert (found["waiting"], endpoint(script)["failures"]) == (0, 2)
        assert [r["outcome"] for r in script.records()] == ["ok"] * 3


def test_while_one_breaker_is_open_the_line_is_for_the_others():
    breaker = terms(failures=1, open_for=60.0)
    with play(max_connections=1, endpoints=2, balance="round_robin", breaker=breaker) as script:
        callers = [script.downstream() for _ in range(3)]
        for d in callers:
            d.send(get())
        script.upstream(0).send(status(500))
        other = script.upstream(1)
        assert script.engine.snapshot()["upstreams"][0]["waiting"] == 1
        other.send(ok())
        assert other.receive().count(b"GET ") == 2
        other.send(ok(b"last"))
        assert callers[2].receive().endswith(b"last")


def test_a_full_endpoint_is_half_open_with_the_conn_that_becomes_free():
    breaker = terms(failures=1, open_for=0.01)
    with play(max_connections=1, endpoints=1, breaker=breaker) as script:
        d, u = waiting(script, get())
        u.send(status(500))
        assert d.receive().startswith(b"HTTP/1.1 500 ")
        while True:
            d.send(get())
            if u.receive():
                break
            assert d.receive().startswith(b"HTTP/1.1 503 ")
        u.send(ok(b"well"))
        assert d.receive().endswith(b"well")
        assert endpoint(script)["breaker"]["state"] == "closed"
        assert endpoint(script)["connects"] == 1


def test_idle_conns_of_one_endpoint_give_way_to_another_when_descriptors_are_short():
    with play(endpoints=2, balance="round_robin", limits={"connections": 2}) as script:
        callers = [script.downstream() for _ in range(2)]
        for d in callers:
            d.send(get())
        ups = [script.upstream(k) for k in range(2)]
        for d, u in zip(callers, ups, strict=True):
            finish_exchange(d, u, b"")
        script.engine.set_endpoint(1, weight=1000)
        for d in callers:
            d.send(get())
        total = sum(endpoint(script, k)["connections"] for k in range(2))
        assert (total, endpoint(script, 1)["connections"]) == (2, 2)
