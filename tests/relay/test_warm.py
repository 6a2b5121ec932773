"""Conns opened before they are needed: how many, for how long, and what if nobody answers."""

import pytest

from tests.support.pools import accept, endpoint, pool
from tests.support.script import get, ok, play


def test_conns_are_opened_before_they_are_needed():
    with play(prewarm=4) as script:
        ups = accept(script, 4)
        before = endpoint(script)
        assert (before["idle"], before["connects"]) == (4, 4)
        assert (before["pool"]["warmed"], before["pool"]["is_warm"]) == (4, True)
        callers = [script.downstream() for _ in range(4)]
        # All in one turn: a conn that replaces one of the four would be as good.
        for d in callers:
            d.put(get())
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
    # One conn at a time: none is warmed beside the one that is asked.
    with play(prewarm=1, prewarm_idle=60.0, max_connections=1) as script:
        (u,) = accept(script, 1)
        d = script.downstream()
        d.send(get())
        assert u.receive().startswith(b"GET ")
        u.close()
        fresh = script.upstream()
        assert fresh.receive().startswith(b"GET ")
        fresh.send(ok(b"new"))
        assert d.receive().endswith(b"new")
        assert endpoint(script)["stale_retries"] == 1


def test_an_engine_that_closes_while_it_warms_gives_all_back():
    with play(prewarm=4):
        pass


@pytest.mark.parametrize("word", [{"up": False}, {"draining": True}])
def test_nobody_waits_for_the_first_conns_of_an_endpoint_that_is_out(word):
    with play(prewarm=2) as script:
        script.engine.set_endpoint(0, **word)
        found = endpoint(script)
        assert found["pool"]["is_warm"]
        assert (found["opening"], found["idle"]) == (0, 0)
