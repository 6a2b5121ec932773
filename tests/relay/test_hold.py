"""Requests that wait where no endpoint takes them, and how their wait ends."""

import json

import pytest

from tests.support.breakers import status
from tests.support.editing import json_post, unchunk
from tests.support.exchanges import waiting
from tests.support.holding import callers, down, holding, queued, up
from tests.support.script import EXPECT, carry, change, get, ok, play, post, split_head
from tests.support.settings import endpoint, routes, settings

NO_ENDPOINT = b"HTTP/1.1 503 "


def test_a_request_waits_for_the_first_endpoint_that_is_back():
    with play(hold_when_down=60.0) as script:
        (d,) = down(script, 1)
        assert d.receive() == b""
        assert not script.has_connected()
        found = holding(script)
        assert (found["now"], found["total"]) == (1, 1)
        assert 0 < found["oldest_s"] <= found["down_s"]
        up(script)
        script.upstream().send(ok())
        assert d.receive().endswith(b"ok")
        assert holding(script) == {"now": 0, "total": 1, "oldest_s": 0.0, "down_s": 0.0}
        (record,) = script.records()
        assert record["outcome"] == "ok"
        assert record["queue_ns"] > 0


def test_without_hold_nobody_waits():
    with play() as script:
        (d,) = down(script, 1)
        assert d.receive().startswith(NO_ENDPOINT)
        assert script.outcome() == "upstream/connecting/no_endpoint"
        assert holding(script)["total"] == 0


def test_who_is_refused_a_connection_waits_too():
    """The request that finds it out has cost its attempts; nothing of it went anywhere."""
    with play(hold_when_down=60.0) as script:
        script.refuse()
        first, second = callers(script, 2)
        assert (first.receive(), second.receive()) == (b"", b"")
        assert queued(script) == 2
        script.accept_again()
        script.wait()
        u = script.upstream()
        assert b"GET /0 " in u.receive(), "the one that has tried is the first again"
        assert not script.has_connected(), "one at a time is tried"
        u.send(ok())
        assert first.receive().endswith(b"ok")
        assert b"GET /1 " in u.receive()
        u.send(ok())
        assert second.receive().endswith(b"ok")
        assert [r["outcome"] for r in script.records()] == ["ok", "ok"]


def test_without_hold_a_refused_connection_is_a_502():
    with play() as script:
        script.refuse()
        (d,) = callers(script, 1)
        assert d.receive().startswith(b"HTTP/1.1 502 ")
        assert script.outcome() == "upstream/connecting/refused"


def test_an_endpoint_that_refuses_is_tried_again_and_again():
    with play(hold_when_down=60.0) as script:
        script.refuse()
        callers(script, 1)
        tries = script.engine.snapshot()["upstreams"][0]["endpoints"][0]["connects"]
        failed = tries
        while failed < tries + 3:
            script.wait()
            failed = script.engine.snapshot()["upstreams"][0]["endpoints"][0]["connect_failures"]
        assert queued(script) == 1


def test_another_endpoint_is_used_before_anyone_waits():
    with play(endpoints=2, hold_when_down=60.0, attempts=1) as script:
        script.refuse(0)
        found = callers(script, 4)
        u = [script.upstream(1) for _ in found]
        for each in u:
            each.send(ok())
        for d in found:
            assert d.receive().endswith(b"ok")
        assert holding(script)["total"] == 0


def test_a_request_that_was_sent_is_not_held():
    """The endpoint may have died of it."""
    with play(hold_when_down=60.0) as script:
        d, u = waiting(script)
        script.refuse()
        u.close()
        assert d.receive().startswith(b"HTTP/1.1 502 ")
        assert script.outcome() == "upstream/waiting/closed"


def test_a_503_of_an_endpoint_that_fails_its_probe_means_that_it_is_loading():
    with play(hold_when_down=60.0) as script:
        script.engine.set_endpoint(0, probe_ok=False, loading=True)
        d, u = waiting(script, get())
        u.send(status(503))
        assert d.receive() == b""
        assert holding(script)["now"] == 1
        script.engine.set_endpoint(0, probe_ok=True)
        script.upstream().send(ok())
        assert d.receive().endswith(b"ok")
        (record,) = script.records()
        assert (record["outcome"], record["status"]) == ("ok", 200)


def test_a_503_of_an_endpoint_that_is_well_or_not_probed_is_an_answer():
    with play(hold_when_down=60.0) as script:
        script.engine.set_endpoint(0, probe_ok=False, loading=True)
        script.engine.set_endpoint(0, probe_ok=False, loading=False)
        d, u = waiting(script, get())
        u.send(status(503))
        assert d.receive().startswith(b"HTTP/1.1 503 ")
        assert holding(script)["total"] == 0


def test_a_503_in_a_trial_is_no_answer():
    """A server that has just begun to listen loads its model."""
    with play(hold_when_down=60.0) as script:
        script.refuse()
        (d,) = callers(script, 1)
        script.accept_again()
        script.wait()
        script.upstream().send(status(503))
        assert d.receive() == b""
        script.wait()
        script.upstream().send(status(404))
        assert d.receive().startswith(b"HTTP/1.1 404 "), "it works: that is its answer"
        assert holding(script)["now"] == 0


def test_a_wait_ends_with_a_503():
    with play(hold_when_down=0.05) as script:
        (d,) = down(script, 1)
        script.wait()
        head, body = split_head(d.receive())
        assert head.startswith(NO_ENDPOINT)
        assert b"\r\nRetry-After: 1\r\n" in head
        assert "fails its health check" in json.loads(body)["error"]["message"]
        assert script.outcome() == "upstream/queued/no_endpoint"


def test_the_queue_has_its_bound_and_refuses_in_dialect():
    with play(hold_when_down=60.0, queue=1) as script:
        script.engine.set_endpoint(0, up=False)
        first, second = script.downstream(), script.downstream()
        first.send(post(b"/v1/messages"))
        second.send(post(b"/v1/messages"))
        head, body = split_head(second.receive())
        assert head.startswith(NO_ENDPOINT)
        assert b"\r\nRetry-After: " in head
        assert json.loads(body)["error"]["type"] == "overloaded_error"
        up(script)
        script.upstream().send(ok())
        assert first.receive().endswith(b"ok")


@pytest.mark.parametrize("leave", ["finish", "reset"])
def test_who_leaves_is_noticed(leave):
    with play(hold_when_down=60.0) as script:
        (d,) = down(script, 1)
        getattr(d, leave)()
        script.turn()
        assert (holding(script)["now"], script.counters()["relays"]) == (0, 0)
        up(script)
        assert not script.has_connected()
        assert script.outcome().startswith("downstream/queued/")


def test_a_trial_whose_caller_leaves_makes_room_for_the_next():
    with play(hold_when_down=60.0) as script:
        script.refuse()
        first, second = callers(script, 2)
        script.accept_again()
        script.wait()
        u = script.upstream()
        u.receive()
        first.reset()
        assert u.is_closed()
        script.wait()
        script.upstream().send(ok())
        assert second.receive().endswith(b"ok")


def test_no_more_of_a_body_is_read_than_is_held():
    with play(hold_when_down=60.0) as script:
        script.engine.set_endpoint(0, up=False)
        d = script.downstream()
        body = b"x" * 20_000_000
        request = post(body=body, extra=EXPECT)
        sent = d.send_some(request)
        assert sent < len(body), "backpressure must reach the caller"
        assert script.counters()["block_bytes"] < 300_000
        up(script)
        u = script.upstream()
        assert carry(d, request[sent:], u).endswith(body[-1000:])
        u.send(ok())
        assert d.receive().endswith(b"ok")


def test_a_model_that_nobody_serves_is_refused_at_once():
    with play(hold_when_down=60.0) as script:
        script.engine.set_routes(routes(("a", 0)), default=None)
        script.engine.set_endpoint(0, up=False)
        d = script.downstream()
        d.send(json_post(b'{"model":"b"}'))
        assert d.receive().startswith(b"HTTP/1.1 404 ")
        e = script.downstream()
        e.send(json_post(b'{"model":"a"}'))
        assert (e.receive(), holding(script)["now"]) == (b"", 1)


def test_a_drain_ends_those_that_wait_and_holds_nobody():
    with play(hold_when_down=60.0) as script:
        (d,) = down(script, 1)
        late = script.downstream()
        script.engine.drain()
        script.turn()
        head, body = split_head(d.receive())
        assert head.startswith(NO_ENDPOINT)
        assert b"\r\nConnection: close\r\n" in head
        assert "shutting down" in json.loads(body)["error"]["message"]
        late.send(get())
        assert late.receive().startswith(NO_ENDPOINT)
        assert [r["outcome"] for r in script.records()] == [
            "ourselves/queued/drained", "upstream/connecting/no_endpoint",
        ]  # fmt: skip


def test_an_endpoint_that_goes_in_a_drain_takes_its_queue_along():
    with play(hold_when_down=60.0, max_inflight=1) as script:
        first, second = callers(script, 2)
        u = script.upstream()
        script.engine.drain()
        script.engine.set_endpoint(0, up=False)
        assert second.receive().startswith(NO_ENDPOINT)
        u.send(ok())
        assert first.receive().endswith(b"ok")


def test_those_in_the_queue_for_a_permit_wait_on_when_the_last_endpoint_goes():
    with play(hold_when_down=60.0, max_inflight=1) as script:
        first, second = callers(script, 2)
        u = script.upstream()
        script.engine.set_endpoint(0, up=False)
        u.send(ok())
        assert first.receive().endswith(b"ok")
        assert second.receive() == b""
        assert (holding(script)["now"], holding(script)["total"]) == (1, 1)
        up(script)
        script.upstream().send(ok())
        assert second.receive().endswith(b"ok")


def test_a_reload_changes_nobodys_hold():
    with play(hold_when_down=60.0) as script:
        (d,) = down(script, 1)
        change(script)
        assert d.receive() == b""
        (late,) = callers(script, 1)
        assert late.receive().startswith(NO_ENDPOINT)
        up(script)
        script.upstream().send(ok())
        assert d.receive().endswith(b"ok")


def test_an_operators_drain_of_the_only_endpoint_holds():
    with play(hold_when_down=60.0) as script:
        script.engine.set_endpoint(0, draining=True)
        (d,) = callers(script, 1)
        assert d.receive() == b""
        script.engine.set_endpoint(0, draining=False)
        script.upstream().send(ok())
        assert d.receive().endswith(b"ok")


def test_a_name_without_an_address_is_waited_for():
    """A headless service whose pods are not ready. The request asks for usage as all servers do."""
    with play(upstreams=["one", "two"]) as script:
        script.engine.set_routes(routes(("a", 1)), default=0)
        script.engine.set_upstream(1, settings=settings(hold_when_down=60.0))
        d = script.downstream()
        d.send(json_post(b'{"model":"a","stream":true}'))
        assert d.receive() == b""
        there = endpoint(1, sockaddr=script._sockaddr(script.sources[0]))
        script.engine.add_endpoint(1, settings=there)
        u = script.upstream()
        assert b'"include_usage":true' in u.receive()
        u.send(ok())
        assert unchunk(split_head(d.receive())[1]) == b"ok"


def test_a_trial_is_charged_to_nobody():
    """Its permit came to nothing: the tenant's share is that of one request."""
    with play(hold_when_down=60.0) as script:
        script.refuse()
        (d,) = callers(script, 1)
        for _ in range(2):
            script.wait()
        (share,) = script.engine.snapshot()["upstreams"][0]["tenants"]
        assert (share["served"], share["inflight"], share["queued"]) == (0, 0, 1)
        d.close()
