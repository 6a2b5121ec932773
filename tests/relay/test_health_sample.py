"""The health sample: breakers that have moved, and endpoints that owe bytes."""

from tests.support.breakers import status, terms
from tests.support.exchanges import connected, waiting
from tests.support.script import EXPECT, SSE_HEAD, chunk, event, get, ok, play, post
from zeroproxy._fast.engine.thread import BREAKER_CHANGED


def test_a_move_is_notified_once_and_the_health_sample_shows_it():
    with play(
        endpoints=2, balance="round_robin", breaker=terms(failures=1, open_for=60.0)
    ) as script:
        d, u = connected(script, get())
        u.put(status(500))
        told = [script.engine.on_ready() & BREAKER_CHANGED for _ in range(4)]
        assert told.count(BREAKER_CHANGED) == 1
        (sample,) = script.engine.health_sample(only=0)
        assert sample["breaker"]["state"] == "open"
        assert 0 < sample["due_s"] <= 60
        d.receive()


def test_the_health_sample_shows_which_endpoint_owes_bytes():
    with play(endpoints=1) as script:
        assert script.engine.health_sample(after=0)[0]["owed"] == 0
        slow = script.downstream()
        slow.send(post(body=b"12345", extra=EXPECT)[:-2])
        script.upstream().receive()
        found = script.engine.health_sample(after=0)[0]
        assert (found["inflight"], found["owed"], found["quiet_s"]) == (1, 0, 0.0)
        _, u = waiting(script)
        found = script.engine.health_sample(after=0)[0]
        assert (found["inflight"], found["owed"], found["begun"]) == (2, 1, 0)
        assert found["last_data_s"] == 0.0
        u.send(SSE_HEAD)
        assert script.engine.health_sample(after=0)[0]["begun"] == 0
        u.send(chunk(event()))
        found = script.engine.health_sample(after=0)[0]
        assert found["begun"] == 1
        assert found["last_data_s"] > 0.0
        slow.close()


def test_a_caller_who_does_not_read_is_not_held_against_the_endpoint():
    with play() as script:
        _, u = waiting(script, get())
        rest = ok(b"x" * 20_000_000)
        while sent := u.send_some(rest):
            rest = rest[sent:]
        found = script.engine.health_sample(after=0)[0]
        assert (found["inflight"], found["owed"]) == (1, 0)


def test_no_relay_is_looked_at_while_bytes_come():
    with play() as script:
        _, u = waiting(script)
        assert script.engine.health_sample(after=1)[0]["owed"] == 1, "nothing was ever heard"
        u.send(SSE_HEAD + chunk(event()))
        found = script.engine.health_sample(after=3600)[0]
        assert (found["inflight"], found["owed"], found["quiet_s"]) == (1, 0, 0.0)
