"""Conns at rest: which is handed out, how long it may rest, who waits for one, who is warmed."""

import pytest

from tests.support.script import POOL, Peer, Script, get, ok, play, split_head


def endpoint(script: Script, k: int = 0) -> dict:
    script.turn()
    return script.engine.snapshot()["upstreams"][0]["endpoints"][k]


def pool(script: Script, k: int = 0) -> dict:
    return endpoint(script, k)["pool"]


def ask(script: Script, u: Peer, d: Peer | None = None, extra: bytes = b"") -> Peer:
    """One exchange that `u` serves; returns the caller."""
    d = d or script.downstream()
    d.send(get())
    assert u.receive().startswith(b"GET ")
    u.send(ok(extra=extra))
    assert d.receive().endswith(b"ok")
    return d


def first(script: Script, extra: bytes = b"") -> tuple[Peer, Peer]:
    """A caller and the conn that has served it once."""
    d = script.downstream()
    d.send(get())
    u = script.upstream()
    return ask_again(d, u, extra), u


def ask_again(d: Peer, u: Peer, extra: bytes) -> Peer:
    assert u.receive().startswith(b"GET ")
    u.send(ok(extra=extra))
    assert d.receive().endswith(b"ok")
    return d


# ---------------------------------------------------------------- which conn


def test_the_conn_that_rested_least_is_used_first():
    with play() as script:
        callers = [script.downstream() for _ in range(3)]
        for d in callers:
            d.send(get())
        ups = [script.upstream() for _ in range(3)]
        for u, d in zip(ups, callers, strict=True):
            ask_again(d, u, b"")
        for u in reversed(ups):
            callers[0].send(get())
            assert u.receive().startswith(b"GET ")
            callers = [*callers[1:], callers[0]]


def test_a_conn_serves_no_more_than_it_may():
    with play(max_requests=2) as script:
        d, u = first(script)
        ask(script, u, d)
        assert u.is_closed()
        assert pool(script)["closed"]["age"] == 1


def test_a_conn_that_is_too_old_is_not_kept():
    with play(max_age=1e-9) as script:
        _, u = first(script)
        assert u.is_closed()
        assert pool(script)["closed"]["age"] == 1


def test_a_long_request_goes_out_on_a_new_conn():
    """It cannot be held, so it could not be sent again if the rested conn turned out dead."""
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
        d = script.downstream()
        d.send(get())
        u = script.upstream()
        u.send(ok(extra=b"Connection: close\r\n"))
        d.receive()
        assert pool(script)["closed"] == {
            "endpoint": 0, "idle": 1, "age": 0, "surplus": 0, "exchange": 1,
        }  # fmt: skip
        assert endpoint(script)["connections"] == 0


# ---------------------------------------------------------------- what the endpoint says and does


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


def test_what_is_said_is_not_sent_on():
    with play() as script:
        d = script.downstream()
        d.send(get())
        script.upstream().send(ok(extra=b"Keep-Alive: timeout=5\r\nConnection: keep-alive\r\n"))
        assert b"eep-" not in d.receive()


def test_where_nothing_is_learned_what_is_said_does_not_count():
    with play(idle_timeout=60.0, learns=False) as script:
        d, u = first(script, b"Keep-Alive: timeout=0, max=1\r\n")
        ask(script, u, d)
        u.close()
        assert pool(script)["idle_limit_s"] == 60.0


def test_a_conn_is_given_up_before_its_last_request():
    """cpp-httplib says max=100 with every answer and closes after the 100th."""
    with play() as script:
        d, u = first(script, b"Keep-Alive: timeout=5, max=5\r\n")
        for _ in range(3):
            assert not u.is_closed()
            ask(script, u, d, b"Keep-Alive: timeout=5, max=5\r\n")
        assert u.is_closed()


@pytest.mark.parametrize("said", [b"max=1", b"max=0", b"timeout=0"])
def test_what_may_not_rest_is_not_used_again(said):
    with play() as script:
        d, u = first(script, b"Keep-Alive: " + said + b"\r\n")
        d.send(get())
        script.upstream()
        assert u.is_closed()


def test_a_conn_the_endpoint_closed_teaches_a_shorter_rest():
    with play() as script:
        d, u = first(script)
        u.close()
        assert pool(script)["seen_idle_s"] == pool(script)["idle_limit_s"] == 0.5
        assert pool(script)["closed"]["endpoint"] == 1
        d.send(get())
        ask_again(d, script.upstream(), b"")


def test_an_endpoint_that_refuses_is_forgotten():
    with play() as script:
        d, u = first(script, b"Keep-Alive: timeout=2\r\n")
        u.close()
        script.refuse()
        d.send(get())
        assert d.receive().startswith(b"HTTP/1.1 502 ")
        assert pool(script)["idle_limit_s"] == 3.0


# ---------------------------------------------------------------- a cap


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


def test_a_conn_that_ends_makes_room_for_a_new_one():
    with play(max_connections=1) as script:
        one, two = script.downstream(), script.downstream()
        one.send(get())
        two.send(get())
        u = script.upstream()
        u.send(ok(extra=b"Connection: close\r\n"))
        assert one.receive().endswith(b"ok")
        script.upstream().send(ok(b"two"))
        assert two.receive().endswith(b"two")


def test_an_endpoint_with_room_is_used_before_anybody_waits():
    with play(max_connections=1, endpoints=2, balance=0) as script:
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
        script.engine.set_pool(0, **{**POOL, "max_connections": 0})
        script.upstream(), script.upstream()


def test_a_dead_conn_at_the_cap_is_replaced_within_it():
    with play(max_connections=2) as script:
        callers = [script.downstream() for _ in range(2)]
        for d in callers:
            d.send(get())
        ups = [script.upstream() for _ in range(2)]
        for u, d in zip(ups, callers, strict=True):
            ask_again(d, u, b"")
        callers[0].send(get())
        ups[1].close()
        script.upstream().send(ok(b"new"))
        assert callers[0].receive().endswith(b"new")
        assert endpoint(script)["connections"] <= 2


# ---------------------------------------------------------------- warm


def accept(script: Script, n: int, k: int = 0) -> list[Peer]:
    found = [script.upstream(k) for _ in range(n)]
    assert not script.has_connected(k)
    return found


def test_conns_are_opened_before_they_are_needed():
    with play(prewarm=4) as script:
        ups = accept(script, 4)
        before = endpoint(script)
        assert (before["idle"], before["connects"]) == (4, 4)
        assert (before["pool"]["warmed"], before["pool"]["is_warm"]) == (4, True)
        callers = [script.downstream() for _ in range(4)]
        for d in callers:
            d.send(get())
        assert all(u.receive().startswith(b"GET ") for u in ups)
        after = endpoint(script)
        assert after["connects"] == after["pool"]["warmed"] + after["opening"]
        assert after["reused"] == 0


def test_what_was_used_is_replaced():
    with play(prewarm=3) as script:
        ups = accept(script, 3)
        d = script.downstream()
        d.send(get())
        script.wait()
        ups += accept(script, 1)
        assert endpoint(script)["idle"] == 3
        u = next(u for u in ups if u.receive())
        u.send(ok())
        assert d.receive().endswith(b"ok")
        assert endpoint(script)["idle"] == 4


def test_without_traffic_warm_conns_expire_and_nothing_is_armed():
    with play(prewarm=3, idle_timeout=0.12, prewarm_idle=0.05) as script:
        ups = accept(script, 3)
        while script.counters()["timers"]:
            script.wait()
        assert not script.has_connected()
        assert all(u.is_closed() for u in ups)
        assert pool(script)["closed"]["idle"] == 3
        script.downstream().send(get())
        script.wait()
        accept(script, 4)


def test_with_traffic_what_expired_is_opened_again():
    with play(prewarm=2, idle_timeout=0.12, prewarm_idle=0.0) as script:
        ups = accept(script, 2)
        while endpoint(script)["connects"] < 4:
            script.wait()
        assert all(u.is_closed() for u in ups)
        assert pool(script)["closed"]["idle"] == 2


def test_an_endpoint_that_lets_nothing_rest_is_not_warmed():
    with play(prewarm=8, idle_timeout=0.01) as script:
        assert not script.has_connected()
        assert pool(script)["is_warm"]


def test_an_endpoint_that_is_down_is_tried_with_one_conn_and_ever_more_rarely():
    with play(prewarm=8) as script:
        for u in accept(script, 8):
            u.close()
        script.refuse()
        assert (endpoint(script)["connects"], pool(script)["backoff_s"]) == (8, 0.25)
        for tried, backoff in ((9, 0.5), (10, 1.0)):
            while endpoint(script)["connects"] < tried:
                script.wait()
            assert (endpoint(script)["connects"], pool(script)["backoff_s"]) == (tried, backoff)
        assert endpoint(script)["connections"] == 0


@pytest.mark.parametrize(
    ("words", "limits", "n"),
    [
        ({"max_idle": 2}, {}, 2),
        ({"max_connections": 3}, {}, 3),
        ({}, {"connections": 5}, 5),
    ],
)
def test_warm_conns_stay_within_every_limit(words, limits, n):
    with play(prewarm=8, limits=limits, **words) as script:
        accept(script, n)
        assert endpoint(script)["idle"] == n
        assert pool(script)["is_warm"]


def test_an_endpoint_out_of_rotation_is_cold_and_warm_again_when_it_returns():
    with play(prewarm=2) as script:
        ups = accept(script, 2)
        script.engine.set_endpoint(0, draining=True)
        assert all(u.is_closed() for u in ups)
        script.engine.set_endpoint(0, draining=False)
        accept(script, 2)
        script.engine.remove_endpoint(0)
        assert script.counters()["timers"] == 0


def test_a_warm_conn_that_died_unused_is_replaced_unseen():
    with play(prewarm=1, prewarm_idle=60.0) as script:
        (u,) = accept(script, 1)
        d = script.downstream()
        d.send(get())
        assert u.receive().startswith(b"GET ")
        u.close()
        # The one that is asked again, and one that keeps the pool warm.
        script.wait()
        fresh = [script.upstream(), script.upstream()]
        (asked,) = [f for f in fresh if f.receive()]
        asked.send(ok(b"new"))
        assert d.receive().endswith(b"new")
        assert endpoint(script)["stale_retries"] == 1


def test_an_engine_that_closes_while_it_warms_gives_all_back():
    with play(prewarm=4):
        pass
