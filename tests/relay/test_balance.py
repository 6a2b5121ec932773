"""The policies on the wire: what belongs together goes to one endpoint, a retry to another."""

import json
from collections import Counter

import pytest
from msgspec.structs import replace

from tests.relay.test_routing import CHUNKED
from tests.support.editing import json_post, unchunk
from tests.support.script import chunk, get, ok, play, post, split_head
from tests.support.settings import routes, settings
from zeroproxy._fast.engine.settings_types import ReportedLoad
from zeroproxy.config.schema import Hash

BY_KEY, FASTEST = "consistent_hash", "fastest"
#: More than is held of a request: its start goes on while its end is still to come.
LONG = b"x" * 80_000
ON = ("header:x-session-id", "user", "prompt")
BOUNDLESS = Hash(on=ON, prefix_bytes=64, load_bound=1000.0)


def by_key(on=ON, endpoints=4, **more):
    return play(endpoints=endpoints, balance=BY_KEY, hash=replace(BOUNDLESS, on=on), **more)


def where(script):
    (k,) = [k for k in range(len(script.sources)) if script.has_connected(k)]
    return k


def home(script, *pieces):
    """The endpoint the request goes to; it is answered there, over a connection of its own."""
    d = script.downstream()
    for piece in pieces:
        d.send(piece)
    k = where(script)
    u = script.upstream(k)
    u.receive()
    u.send(ok(extra=b"Connection: close\r\n"))
    assert d.receive().startswith(b"HTTP/1.1 200 ")
    d.close()
    u.close()
    return k


def test_a_session_stays_at_one_endpoint_over_a_thousand_requests():
    with by_key() as script:
        d = script.downstream()
        peers = {}
        for n in range(1000):
            d.send(post(extra=b"X-Session-Id: s1\r\n", body=b'{"prompt":"%d"}' % n))
            if not peers:
                k = where(script)
                peers[k] = script.upstream(k)
            (u,) = peers.values()
            assert b"X-Session-Id: s1" in u.receive()
            u.send(ok())
            assert d.receive().endswith(b"ok")
        assert not any(script.has_connected(k) for k in range(4))


def test_sessions_spread():
    with by_key() as script:
        homes = Counter(home(script, get(extra=b"x-session-ID: s%d\r\n" % n)) for n in range(80))
    assert set(homes) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("body", "other"),
    [
        ({"messages": [{"role": "user", "content": "long " * 30}], "user": "ann"},
         {"user": "ann", "messages": []}),
        ({"metadata": {"user_id": "bob"}, "prompt": "a"}, {"prompt": "b", "user": "bob"}),
        ({"messages": ["the same begin " * 9 + "a"]}, {"input": ["the same begin " * 9 + "b"]}),
    ],
)  # fmt: skip
def test_what_belongs_together_goes_together_in_every_split(body, other):
    whole = json_post(json.dumps(body).encode())
    begin = whole.index(b"\r\n\r\n") + 4
    with by_key() as script:
        expected = home(script, json_post(json.dumps(other).encode()))
        for k in range(begin, len(whole)):
            assert home(script, whole[:k], whole[k:]) == expected


def test_nothing_is_sent_before_the_key_is_there_and_all_of_it_after():
    body = b'{"prompt":"' + b"p" * 200 + b'","user":"u"}'
    with by_key() as script:
        d = script.downstream()
        d.send(json_post(body)[:-3])
        assert not any(script.has_connected(k) for k in range(4))
        d.send(json_post(body)[-3:])
        u = script.upstream(where(script))
        assert split_head(u.receive())[1] == body


def test_a_chunked_body_has_a_key_too():
    body = b'{"prompt":"p","user":"u"}'
    with by_key() as script:
        expected = home(script, json_post(b'{"user":"u"}'))
        d = script.downstream()
        d.send(CHUNKED + chunk(body[:4]) + chunk(body[4:20]))
        d.send(chunk(body[20:]) + b"0\r\n\r\n")
        k = where(script)
        assert k == expected
        assert unchunk(split_head(script.upstream(k).receive())[1]) == body


def test_the_caller_who_waits_for_a_word_gets_it():
    with by_key() as script:
        d = script.downstream()
        head, body = split_head(json_post(b'{"user":"u"}', extra=b"Expect: 100-continue\r\n"))
        d.send(head)
        assert d.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
        d.send(body)
        assert where(script) in range(4)


def test_a_header_that_is_there_spares_the_wait_for_the_body():
    with by_key() as script:
        d = script.downstream()
        d.send(json_post(b'{"prompt":"%s"}' % LONG, extra=b"X-Session-Id: s\r\n")[:-5])
        assert where(script) in range(4)


def test_a_prompt_needs_no_more_of_the_body_than_its_prefix():
    with by_key(on=("prompt",)) as script:
        d = script.downstream()
        d.send(json_post(b'{"prompt":"' + LONG + b'", "user":"u"}')[:-20])
        assert where(script) in range(4)


def test_a_user_beyond_the_first_64_kib_is_not_waited_for():
    body = b'{"prompt":"' + LONG + b'","user":"u"}'
    with by_key() as script:
        expected = home(script, json_post(b'{"prompt":"' + b"x" * 70 + b'"}'))
        d = script.downstream()
        d.send(json_post(body)[:68_000])
        assert where(script) == expected


def test_a_retry_goes_elsewhere_and_the_next_request_comes_back():
    with by_key(retry_on_busy=False, attempts=2) as script:
        request = json_post(b'{"user":"u"}')
        first = home(script, request)
        d = script.downstream()
        script.refuse(first)
        d.send(request)
        second = where(script)
        assert second != first
        u = script.upstream(second)
        u.receive()
        u.send(ok())
        assert d.receive().startswith(b"HTTP/1.1 200 ")


def test_a_session_that_crowds_its_endpoint_flows_over_within_the_bound():
    with play(endpoints=4, balance=BY_KEY, hash=replace(BOUNDLESS, load_bound=1.25)) as script:
        for _ in range(40):
            script.downstream().send(post(extra=b"X-Session-Id: hot\r\n"))
        loads = [v["inflight"] for v in script.engine.health_sample()]
        assert sum(loads) == 40
        assert max(loads) <= 13


def test_where_there_is_no_choice_nothing_waits_for_a_key():
    with by_key(endpoints=2, upstreams=["one", "two"]) as script:
        script.engine.set_routes(routes(("a", 0), ("b", 1)), default=0)
        d = script.downstream()
        d.send(json_post(b'{"model":"b","messages":["%s"],"user":"u"}' % LONG)[:-6])
        assert where(script) == 1


def test_a_request_waits_for_its_model_and_then_for_its_key():
    with by_key(endpoints=2) as script:
        script.engine.set_routes(routes(("a", 0)), default=None)
        d = script.downstream()
        whole = json_post(b'{"messages":["m"],"model":"a","user":"u"}')
        d.send(whole[:-18])
        assert not script.has_connected(0)
        assert not script.has_connected(1)
        d.send(whole[-18:])
        assert split_head(script.upstream(where(script)).receive())[1] == split_head(whole)[1]


def test_a_policy_that_changes_is_obeyed_by_the_next_request():
    request = json_post(b'{"user":"u"}')
    with play(endpoints=4, balance="round_robin") as script:
        assert {home(script, request) for _ in range(4)} == {0, 1, 2, 3}
        script.engine.set_upstream(0, settings=settings(balance=BY_KEY, hash=BOUNDLESS))
        assert len({home(script, request) for _ in range(8)}) == 1
        script.engine.set_upstream(0, settings=settings(balance=FASTEST))
        home(script, request)
        assert sum(latency_model(script, k)["whole"]["samples"] for k in range(4)) == 1


def test_a_word_that_is_none_of_an_endpoint_is_refused():
    with play() as script, pytest.raises(TypeError, match="speed"):
        script.engine.set_endpoint(0, speed=1)


# ---------------------------------------------------------------- fastest


def load(running, waiting, cache, lasts):
    return ReportedLoad(running=running, waiting=waiting, cache=cache, lasts=lasts)


def latency_model(script, k=0):
    return script.engine.snapshot()["upstreams"][0]["endpoints"][k]["pace"]


def answered_by(script, answer, request=None):
    d = script.downstream()
    d.send(request or post())
    k = where(script)
    u = script.upstream(k)
    u.receive()
    u.send(answer)
    d.receive()
    d.close()
    u.close()
    return k


def test_whole_good_answers_to_posts_are_measured_and_nothing_else():
    closing = b"Connection: close\r\n"
    with play(balance=FASTEST) as script:
        for status in (b"404 Not Found", b"500 Oh"):
            answered_by(script, ok(extra=closing).replace(b"200 OK", status))
        answered_by(script, ok(extra=closing), get())
        answered_by(script, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort")
        assert latency_model(script)["whole"]["samples"] == 0
        assert latency_model(script)["lost"] == 1
        answered_by(script, ok(extra=closing))
        found = latency_model(script)
        assert found["whole"]["samples"] == 1
        assert found["lost"] == 0
        assert found["whole"]["a_s"] + found["whole"]["b_s"] > 0


def test_reported_load_is_shown_until_it_is_stale():
    with play(balance=FASTEST) as script:
        assert latency_model(script)["told"] is None
        script.engine.set_endpoint(0, load=load(3.0, 2.0, 0.5, 3600.0))
        assert latency_model(script)["told"] == {"running": 3, "waiting": 2, "cache": 0.5}
        script.engine.set_endpoint(0, load=load(3.0, 2.0, -1.0, 3600.0))
        assert latency_model(script)["told"]["cache"] is None
        script.engine.set_endpoint(0, load=load(3.0, 2.0, 0.5, 0.0))
        assert latency_model(script)["told"] is None


def test_a_server_that_others_keep_busy_is_passed_over():
    with play(endpoints=2, balance=FASTEST) as script:
        closing = ok(extra=b"Connection: close\r\n")
        assert {answered_by(script, closing) for _ in range(2)} == {0, 1}
        script.engine.set_endpoint(0, load=load(200.0, 100.0, 1.0, 3600.0))
        assert {answered_by(script, closing) for _ in range(10)} == {1}


def test_no_other_policy_measures():
    with play() as script:
        answered_by(script, ok(extra=b"Connection: close\r\n"))
        assert latency_model(script) is None
