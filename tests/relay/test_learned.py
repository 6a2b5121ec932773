"""Facts that one engine has learned of its endpoints, and with which another goes on."""

import pytest
from msgspec.structs import replace

from tests.support.breakers import endpoints, exchange_once, pair, state, status, terms
from tests.support.keys import row
from tests.support.script import get, ok, play
from tests.support.settings import settings
from zeroproxy._fast.engine.settings_types import Learned

NOTHING = Learned(
    limit=0.0, is_open=False, due_s=0.0, trips=0, in_a_row=0, is_unconfirmed=False,
    said_idle_s=0.0, seen_idle_s=0.0, said_max=0,
)  # fmt: skip


def learned_of(script, endpoint=0):
    found = script.engine.learned()[endpoint]
    return Learned(**{name: found[name] for name in Learned.__struct_fields__})


def goes_on(script, learned, endpoint=0):
    script.engine.set_learned(endpoint, learned=learned)
    return learned_of(script, endpoint)


def test_an_engine_that_has_seen_nothing_has_learned_nothing():
    with play(endpoints=2) as script:
        assert [s["upstream"] for s in script.engine.learned()] == ["vllm", "vllm"]
        assert [s["url"] for s in script.engine.learned()] == [e["url"] for e in endpoints(script)]
        assert learned_of(script) == learned_of(script, 1) == NOTHING
        assert goes_on(script, NOTHING) == NOTHING


def test_a_breaker_that_is_open_opens_in_the_next_engine():
    with pair(breaker=terms(open_for=30.0)) as script:
        for _ in range(3):
            exchange_once(script, status(500))
        found = learned_of(script)
        assert (found.is_open, found.trips) == (True, 1)
        assert 0 < found.due_s <= 30
    with pair(breaker=terms(open_for=30.0)) as script:
        then = goes_on(script, found)
        assert state(script) == "open"
        assert 0 < then.due_s <= found.due_s
        assert replace(then, due_s=found.due_s) == found
        assert exchange_once(script, ok(), 1).startswith(b"HTTP/1.1 200 ")


def test_failures_in_a_row_are_counted_on():
    with pair(breaker=terms(window=0.0)) as script:
        goes_on(script, replace(NOTHING, in_a_row=2))
        exchange_once(script, status(500))
        assert state(script) == "open"


def test_a_breaker_that_is_off_or_has_moved_stays():
    with play() as script:
        assert not goes_on(script, replace(NOTHING, is_open=True, due_s=9.0)).is_open
    with pair(breaker=terms(open_for=7.0)) as script:
        for _ in range(3):
            exchange_once(script, status(500))
        assert goes_on(script, replace(NOTHING, in_a_row=1)).is_open


def test_a_limit_goes_on_as_far_as_the_settings_allow():
    with play(ttft_target=1.0, max_inflight=64, min_inflight=4) as script:
        assert learned_of(script).limit == 64
        for limit, found in ((17.5, 17.5), (1000.0, 64), (1.0, 4)):
            assert goes_on(script, replace(NOTHING, limit=limit)).limit == found
    with play(max_inflight=8) as script:
        goes_on(script, replace(NOTHING, limit=17.5))
        assert endpoints(script)[0]["limit"] == 8


def test_times_of_idle_connections_go_on_unless_some_are_known_here():
    known = replace(NOTHING, said_idle_s=3.0, seen_idle_s=2.0, said_max=100)
    with play() as script:
        assert goes_on(script, known) == known
        assert endpoints(script)[0]["pool"]["said_idle_s"] == 3.0
        assert goes_on(script, replace(known, said_idle_s=9.0)) == known


def test_a_removed_endpoint_learns_nothing():
    with play(endpoints=2) as script:
        script.engine.remove_endpoint(1)
        script.engine.set_learned(1, learned=replace(NOTHING, said_max=7))
        assert len(script.engine.learned()) == 1


def test_several_are_put_in_force_together_or_not_at_all():
    def faulty():
        with script.engine.change() as changing:
            changing.set_learned(0, learned=replace(NOTHING, said_max=7))
            changing.set_learned(1, learned=replace(NOTHING, said_max=-1))

    with play(endpoints=2) as script:
        with pytest.raises(ValueError, match=r"learned\.said_max: -1 is not in 0 to"):
            faulty()
        assert learned_of(script) == NOTHING


@pytest.mark.parametrize(
    ("level", "found"), [(40.0, 40.0), (-30.0, -30.0), (1e6, 60.0), (-1e6, -600.0)]
)
def test_a_quota_goes_on_within_its_bounds(level, found):
    with play() as script:
        script.engine.set_keys([row("a", tokens=60)])
        script.engine.set_quota_level(0, quota="tokens", level=level)
        (quota,) = script.engine.quotas()
        assert found <= quota["level"] < found + 30


def test_a_leased_quota_and_one_that_is_not_configured_stay():
    with play() as script:
        script.engine.set_keys([row("a", tokens=60)])
        script.engine.grant_quota(0, quota="tokens", speed=60.0, level=5.0, used=0)
        script.engine.set_quota_level(0, quota="tokens", level=40.0)
        script.engine.set_quota_level(0, quota="requests", level=40.0)
        (quota,) = script.engine.quotas()
        assert (quota["level"], quota["leased"]) == (5.0, True)


def test_listeners_may_be_left_and_taken_again_any_number_of_times():
    with play() as script:
        for _ in range(40):
            script.engine.stop_listening()
            script.engine.listen(script.listener.fileno())
        assert script.engine.snapshot()["fds"]["listener"] == 1
        assert exchange_once(script, ok()).startswith(b"HTTP/1.1 200 ")


def test_kept_conns_have_a_moment_in_a_drain_that_nobody_waits_for():
    with play() as script:
        d = script.downstream()
        u = None
        for is_last in (False, True):
            d.send(get())
            u = u or script.upstream()
            u.receive()
            u.send(ok(b"there"))
            assert (b"Connection: close" in d.receive()) == is_last
            script.engine.drain(spare_idle=True)
        assert d.is_closed()


def test_settings_that_are_none_are_named():
    with play() as script:
        for learned, error in (
            (replace(NOTHING, limit="8"), "learned.limit: float expected, not str"),
            (replace(NOTHING, is_open=1), "learned.is_open: bool expected, not int"),
            ({}, "learned: Learned expected, not dict"),
        ):
            with pytest.raises(TypeError, match=error):
                script.engine.set_learned(0, learned=learned)
        script.engine.set_upstream(0, settings=settings())
        assert learned_of(script) == NOTHING
