"""Hedging: a second endpoint gets the request if one is silent; the first answer is relayed."""

import select

import pytest

from tests.support.exchanges import connected
from tests.support.script import EXPECT, SSE_HEAD, chunk, event, get, ok, play, post

NOW = 1e-9


def hedged(**more):
    words = {"endpoints": 2, "balance": "round_robin", "hedge_after": NOW, "hedge_budget": 1.0}
    return play(**{**words, **more})


def late(script):
    """Until the hedge is due, if it was not already in the turn that sent the request."""
    if not all(script.has_connected(e) for e in range(len(script.sources))):
        select.select([script.engine.fileno()], [], [], 0.2)
        script.turn()


def both(script, request=None):
    """(caller, first endpoint's conn, second's) of a request that both have."""
    d, one = connected(script, request or post(extra=b"Connection: close\r\n"))
    late(script)
    two = script.upstream(1)
    assert one.receive() == two.receive() != b""
    return d, one, two


def counts(script):
    u = script.engine.snapshot()["upstreams"][0]
    return u["hedges"], u["hedges_won"]


def inflight(script):
    return [e["inflight"] for e in script.engine.snapshot()["upstreams"][0]["endpoints"]]


@pytest.mark.parametrize("winner", [0, 1])
def test_who_answers_first_is_relayed_and_the_other_is_let_go(winner):
    with hedged() as script:
        d, *ups = both(script)
        assert inflight(script) == [1, 1]
        ups[winner].send(SSE_HEAD + chunk(event()))
        assert ups[1 - winner].is_closed(), "before the answer is over"
        assert inflight(script)[1 - winner] == 0
        ups[winner].send(chunk(event(b"[DONE]")) + b"0\r\n\r\n")
        assert d.receive().endswith(b"[DONE]\n\n\r\n0\r\n\r\n")
        (record,) = script.records()
        assert record["outcome"] == "ok"
        assert record["endpoint"] == f"http://up{winner}"
        assert record["tried"] == 2
        assert counts(script) == (1, winner)


def test_an_answer_in_time_is_not_hedged():
    with hedged(hedge_after=3600.0) as script:
        d = script.downstream()
        d.send(get())
        script.upstream(0).send(ok())
        assert d.receive().endswith(b"ok")
        assert counts(script) == (0, 0)
        assert not script.has_connected(1)


def test_nothing_is_asked_twice_unless_it_was_switched_on():
    with play(endpoints=2, balance="round_robin") as script:
        d, u = connected(script, get())
        assert not script.has_connected(1)
        u.send(ok())
        d.receive()


def test_the_budget_is_a_share_of_all_requests():
    with hedged(hedge_budget=0.25) as script:
        seen = 0
        for k in range(1, 21):
            d = script.downstream()
            d.send(get(extra=b"Connection: close\r\n"))
            late(script)
            ups = [script.upstream(e) for e in (0, 1) if script.has_connected(e)]
            seen += len(ups) - 1
            assert seen <= k * 0.25
            ups[0].send(ok(extra=b"Connection: close\r\n"))
            assert d.receive().endswith(b"ok")
            for u in ups:
                u.close()
        assert seen == counts(script)[0] == 5


def test_a_lone_endpoint_is_asked_once():
    with hedged(endpoints=1) as script:
        d, u = connected(script, get())
        late(script)
        assert not script.has_connected(0)
        u.send(ok())
        assert d.receive().endswith(b"ok")


def test_a_body_that_is_still_coming_is_not_sent_twice():
    with hedged() as script:
        d = script.downstream()
        whole = post(body=b"x" * 100, extra=EXPECT)
        d.send(whole[:-1])
        u = script.upstream(0)
        d.send(whole[-1:])
        u.receive()
        late(script)
        two = script.upstream(1)
        assert two.receive().endswith(b"x" * 100)
        two.send(ok())
        assert d.receive().endswith(b"ok")
        assert u.is_closed()


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("loser", [0, 1])
def test_one_that_fails_leaves_the_other_to_answer(loser, how):
    with hedged() as script:
        d, *ups = both(script)
        getattr(ups[loser], how)()
        assert not d.receive()
        ups[1 - loser].send(ok())
        assert d.receive().endswith(b"ok")
        (record,) = script.records()
        assert record["outcome"] == "ok"
        failures = [e["failures"] for e in script.engine.snapshot()["upstreams"][0]["endpoints"]]
        assert failures[loser] == 1
        assert failures[1 - loser] == 0


def test_when_both_fail_the_caller_is_told_once():
    with hedged() as script:
        d, one, two = both(script)
        one.close()
        two.close()
        assert d.receive().startswith(b"HTTP/1.1 502 ")
        assert len(script.records()) == 1


def test_a_second_endpoint_that_refuses_does_no_harm():
    with hedged() as script:
        script.refuse(1)
        d, u = connected(script, get())
        late(script)
        u.send(ok())
        assert d.receive().endswith(b"ok")
        assert script.outcome() == "ok"


def test_a_caller_who_leaves_frees_both():
    with hedged() as script:
        d, one, two = both(script)
        d.close()
        assert one.is_closed()
        assert two.is_closed()
        assert script.outcome().startswith("downstream/waiting/")
        assert inflight(script) == [0, 0]


def test_the_first_byte_of_an_interim_answer_decides():
    with hedged() as script:
        d, one, two = both(script)
        two.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        assert one.is_closed()
        two.send(ok())
        assert d.receive().endswith(b"ok")


def test_when_nobody_answers_in_time_both_are_let_go():
    with hedged(first_byte=0.05, attempts=1) as script:
        d, one, two = both(script)
        while not (found := d.receive()):
            script.wait()
        assert found.startswith(b"HTTP/1.1 504 ")
        assert one.is_closed()
        assert two.is_closed()


def test_a_hedge_takes_no_permit_of_its_own():
    with hedged(max_inflight=1) as script:
        d, one, two = both(script)
        other = script.downstream()
        other.send(get(b"/other"))
        assert script.engine.snapshot()["upstreams"][0]["queued"] == 1
        two.send(ok())
        assert d.receive().endswith(b"ok")
        assert one.is_closed()
        u = script.upstream(0) if script.has_connected(0) else two
        assert b"/other" in u.receive()
        u.send(ok(b"other"))
        assert other.receive().endswith(b"other")
