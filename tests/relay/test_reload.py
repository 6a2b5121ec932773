"""Engine calls of a reload: endpoints come and go, settings an exchange keeps, freed permits."""

import pytest
from msgspec.structs import replace

from tests.support.exchanges import connected, waiting
from tests.support.script import (
    SSE_HEAD,
    Script,
    change,
    chunk,
    event,
    get,
    ok,
    play,
    post,
    split_head,
)
from tests.support.settings import LIMITS, POOL, UPSTREAM
from zeroproxy._fast.engine.settings_types import EndpointSettings


def spec_of(script: Script, k: int) -> EndpointSettings:
    return EndpointSettings(
        url=f"http://up{k}", sockaddr=script._sockaddr(script.sources[k]),
        authority=b"up%d.test" % k, pool=POOL,
    )  # fmt: skip


def urls(script: Script) -> list[str]:
    return [e["url"] for e in script.engine.snapshot()["upstreams"][0]["endpoints"]]


def limit(script: Script, **limits: float) -> None:
    script.engine.set_limits(replace(LIMITS, **limits))


def exchange_with(script: Script, endpoint: int) -> None:
    """One exchange on a new conn to `endpoint`, which stays open, as does the caller's."""
    d, u = connected(script, get(), endpoint=endpoint)
    u.send(ok())
    assert d.receive().endswith(b"ok")


# ---------------------------------------------------------------- endpoints


def test_a_removed_endpoint_finishes_what_it_began_and_gets_nothing_new():
    with play(endpoints=2) as script:
        d, u = waiting(script)
        u.send(SSE_HEAD + chunk(event()))
        script.engine.remove_endpoint(0)
        assert urls(script) == ["http://up1"]
        assert script.engine.snapshot()["leaving"] == [{"url": "http://up0", "inflight": 1}]
        for _ in range(3):
            other = script.downstream()
            other.send(get())
            script.upstream(1)
        u.send(chunk(event()) + b"0\r\n\r\n")
        assert d.receive().endswith(chunk(event()) + b"0\r\n\r\n")
        assert u.is_closed(), "its conn is not kept"
        assert script.engine.snapshot()["leaving"] == []
        assert not script.has_connected(0)


def test_idle_conns_of_a_removed_endpoint_are_closed():
    with play(endpoints=2) as script:
        exchange_with(script, 0)
        assert script.engine.snapshot()["connections"]["idle"] == 1
        script.engine.remove_endpoint(0)
        assert script.engine.snapshot()["connections"]["idle"] == 0
        script.engine.remove_endpoint(0)
        script.engine.set_endpoint(0, up=True, draining=False)
        assert urls(script) == ["http://up1"], "a removed endpoint obeys no word"


def test_an_endpoint_that_comes_back_gets_its_slot_again():
    with play(endpoints=2) as script:
        for _ in range(100):
            script.engine.remove_endpoint(0)
            assert script.engine.add_endpoint(0, settings=spec_of(script, 0)) == 0
        assert sorted(urls(script)) == ["http://up0", "http://up1"]


def test_the_same_name_at_another_address_is_another_slot():
    with play(endpoints=2) as script:
        script.engine.remove_endpoint(0)
        moved = replace(spec_of(script, 1), url="http://up0")
        assert script.engine.add_endpoint(0, settings=moved) == 2


def test_records_keep_the_name_of_the_endpoint_that_served_them():
    with play(endpoints=2) as script:
        d, u = connected(script, get())
        script.engine.remove_endpoint(0)
        third = replace(spec_of(script, 0), url="http://third")
        assert script.engine.add_endpoint(0, settings=third) == 2
        u.send(ok())
        d.receive()
        script.engine.remove_endpoint(1)
        exchange_with(script, 0)
        found = [r["endpoint"] for r in script.records()]
        assert found == ["http://up0", "http://third"]
        labels = {r["endpoint"] for r in script.engine.snapshot()["requests"]}
        assert labels == set(found)


def test_host_comes_from_an_endpoint_in_force():
    with play(endpoints=2) as script:
        script.engine.remove_endpoint(0)
        d = script.downstream()
        d.send(b"GET / HTTP/1.0\r\n\r\n")
        head, _ = split_head(script.upstream(1).receive())
        assert b"Host: up1.test\r\n" in head


def test_without_any_endpoint_callers_are_told_so():
    with play() as script:
        script.engine.remove_endpoint(0)
        d = script.downstream()
        d.send(get())
        assert d.receive().startswith(b"HTTP/1.1 50")
        script.engine.add_endpoint(0, settings=spec_of(script, 0))
        exchange_with(script, 0)


@pytest.mark.parametrize("balance", ["round_robin", "least_inflight"])
def test_an_attempt_on_a_removed_endpoint_is_tried_elsewhere(balance):
    with play(endpoints=2, retry_on_busy=True, balance=balance) as script:
        d, u = connected(script, get())
        script.engine.remove_endpoint(0)
        u.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        script.upstream(1).send(ok(b"elsewhere"))
        assert d.receive().endswith(b"elsewhere")


def test_a_changed_pool_begins_anew():
    with play() as script:
        exchange_with(script, 0)
        script.engine.set_pool(0, settings=POOL)
        assert script.engine.snapshot()["connections"]["idle"] == 1
        script.engine.set_pool(0, settings=replace(POOL, max_idle=0))
        exchange_with(script, 0)
        assert script.engine.snapshot()["connections"]["idle"] == 0


def test_a_weight_that_changes_is_obeyed_at_once():
    with play(endpoints=2, balance="round_robin") as script:
        script.engine.set_endpoint(0, weight=3)
        for endpoint in (0, 0, 0, 1):
            d = script.downstream()
            d.send(get())
            script.upstream(endpoint)


# ---------------------------------------------------------------- terms


def test_an_upload_keeps_the_limit_it_began_under():
    with play() as script:
        d = script.downstream()
        d.send(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        d.send(chunk(b"x" * 100))
        u = script.upstream()
        limit(script, body_bytes=10)
        d.send(chunk(b"#" * 100) + b"0\r\n\r\n")
        assert u.receive().count(b"#") == 100
        u.send(ok())
        assert d.receive().endswith(b"ok")
        d.send(post(body=b"x" * 11))
        assert d.receive().startswith(b"HTTP/1.1 413 ")


def test_a_response_keeps_the_patience_it_began_under():
    with play(stream_idle=0.02) as script:
        d = script.downstream()
        d.send(post())
        script.upstream().send(SSE_HEAD + chunk(event()))
        change(script, stream_idle=600.0)
        script.wait()
        assert b"error" in d.receive()
        assert script.outcome() == "upstream/relaying/timeout"


def test_new_exchanges_on_an_old_conn_get_the_new_terms():
    with play() as script:
        d, u = connected(script, get())
        u.send(ok())
        d.receive()
        change(script, first_byte=0.02)
        d.send(get())
        u.receive()
        script.wait()
        assert d.receive().startswith(b"HTTP/1.1 504 ")


def test_an_exchange_keeps_its_attempts():
    with play(endpoints=2, retry_on_busy=True) as script:
        d, u = connected(script, get())
        change(script, attempts=1, retry_on_busy=False)
        u.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        script.upstream(1).send(ok(b"elsewhere"))
        assert d.receive().endswith(b"elsewhere")


def test_switches_count_from_the_next_head():
    with play() as script:
        script.engine.set_switches(via=False, trust_forwarded=True, serve_half_close=False)
        d = script.downstream()
        d.send(get(extra=b"X-Forwarded-For: 9.9.9.9\r\n"))
        head = script.upstream().receive()
        assert b"\r\nVia:" not in head
        assert b"X-Forwarded-For: 9.9.9.9, 127.0.0.1\r\n" in head


def test_a_time_below_zero_changes_nothing():
    with play() as script:
        with pytest.raises(ValueError, match=r"limits\.tunnel_idle_timeout"):
            limit(script, body_bytes=1, tunnel_idle_timeout=-1.0)
        with pytest.raises(ValueError, match=r"timeouts\.total"):
            change(script, max_inflight=1, total=-1.0)
        with pytest.raises(IndexError):
            script.engine.set_upstream(1, settings=UPSTREAM)
        for _ in range(2):
            d = script.downstream()
            d.send(post(body=b"12345"))
            assert split_head(script.upstream().receive())[1] == b"12345"


# ---------------------------------------------------------------- permits


@pytest.mark.parametrize("more", [3, 0])
def test_permits_that_are_added_go_to_who_waits(more):
    with play(max_inflight=1) as script:
        callers = [script.downstream() for _ in range(3)]
        for d in callers:
            d.send(get())
        first = script.upstream()
        assert not script.has_connected()
        change(script, max_inflight=more)
        ups = [first, script.upstream(), script.upstream()]
        for d, u in zip(callers, ups, strict=True):
            u.send(ok())
            assert d.receive().endswith(b"ok")


def test_permits_that_are_taken_away_cut_nothing():
    with play(max_inflight=3) as script:
        callers = [script.downstream() for _ in range(4)]
        for d in callers:
            d.send(get())
        ups = [script.upstream() for _ in range(3)]
        change(script, max_inflight=1)
        for k in (0, 1):
            ups[k].send(ok())
            assert callers[k].receive().endswith(b"ok")
        assert script.engine.snapshot()["upstreams"][0]["queued"] == 1
        ups[2].send(ok())
        assert callers[2].receive().endswith(b"ok")
        assert script.engine.snapshot()["upstreams"][0]["queued"] == 0
