"""Terms of an API key: until when, where, how large, and how many at once."""

import json
import random
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.support.editing import CHUNKED, json_post
from tests.support.exchanges import waiting
from tests.support.keys import row, shows
from tests.support.script import SSE_HEAD, chunk, event, get, ok, play, post, split_head
from zeroproxy._fast.engine.settings_types import Route

KEY = shows("k")
NOW = datetime.now(UTC)


def asks(body=b'{"model":"m-1"}', path=b"/v1/chat/completions"):
    return json_post(body, path, KEY)


def answer(d):
    head, body = split_head(d.receive())
    return int(head.split()[1]), head, json.loads(body)["error"]


def state(script):
    (found,) = script.engine.key_terms()
    return found


def admits(script, **terms):
    script.engine.set_keys([row("k", name="caller", **terms)])


# ---------------------------------------------------------------- disabled, expired, upstreams


@pytest.mark.parametrize(
    ("terms", "term", "text"),
    [
        ({"disabled": True}, "disabled", "The API key is disabled."),
        ({"expires": NOW - timedelta(seconds=1)}, "expires", "The API key has expired."),
        ({"expires": NOW.astimezone(timezone(timedelta(hours=9)))}, "expires",
         "The API key has expired."),
        ({"expires": datetime(1950, 1, 1, tzinfo=UTC)}, "expires",
         "The API key has expired."),
    ],
)  # fmt: skip
def test_a_key_that_is_no_longer_good_is_401_and_counted(terms, term, text):
    with play() as script:
        admits(script, **terms)
        d = script.downstream()
        d.send(asks())
        status, head, error = answer(d)
        assert (status, error["code"], error["message"]) == (401, "invalid_api_key", text)
        assert b"WWW-Authenticate: Bearer\r\n" in head
        assert not script.has_connected()
        assert state(script)["refused"] == {term: 1}
        (record,) = script.records()
        assert record["tenant"] == "t" and record["outcome"] == "downstream/head/refused"


@pytest.mark.parametrize("expires", [NOW + timedelta(hours=1), datetime(9999, 12, 31, tzinfo=UTC)])
def test_a_key_is_good_until_it_expires(expires):
    with play() as script:
        admits(script, expires=expires)
        d, u = waiting(script, asks())
        u.send(ok())
        assert d.receive().endswith(b"ok")


def test_a_reload_disables_and_enables_a_key():
    with play() as script:
        admits(script)
        d, u = waiting(script, asks())
        admits(script, disabled=True)
        u.send(ok())
        assert d.receive().endswith(b"ok")
        d.send(asks())
        assert answer(d)[0] == 401
        admits(script)
        d, u = script.downstream(), u
        d.send(asks())
        assert b"POST " in u.receive()


@pytest.fixture
def two_upstreams():
    with play(endpoints=2, upstreams=["a", "b"]) as script:
        script.engine.set_routes(
            [Route(model="m-a", upstream=0), Route(model="m-b", upstream=1)], default=None
        )
        yield script


def test_a_key_uses_the_upstreams_of_its_list_only(two_upstreams):
    script = two_upstreams
    admits(script, upstreams=("b",))
    d = script.downstream()
    d.send(asks(b'{"model":"m-a"}'))
    status, _, error = answer(d)
    assert status == 403 and error["message"].startswith("The API key does not allow the inference")
    assert not script.has_connected(0)
    assert state(script)["refused"] == {"upstreams": 1}
    waiting(script, asks(b'{"model":"m-b"}'), endpoint=1)


def test_an_upstream_nobody_has_is_an_error(two_upstreams):
    with pytest.raises(ValueError, match=r"key.upstreams: no upstream is called 'c'"):
        admits(two_upstreams, upstreams=("c",))


# ---------------------------------------------------------------- prompt_bytes


@pytest.mark.parametrize("framing", ["length", "chunked", "form"])
def test_a_body_beyond_prompt_bytes_is_413(framing):
    with play() as script:
        admits(script, prompt_bytes=100)
        body = b'{"model":"m-1","prompt":"' + b"x" * 100 + b'"}'
        d = script.downstream()
        if framing == "length":
            d.send(asks(body))
        elif framing == "form":
            d.send(post(body=b"x" * 101, extra=KEY + b"Content-Type: multipart/form-data\r\n"))
        else:
            d.send(CHUNKED.replace(b"Host: a\r\n", b"Host: a\r\n" + KEY))
            d.send(chunk(body[:60]) + chunk(body[60:]))
        status, _, error = answer(d)
        assert (status, error["message"]) == (413, "The body is larger than this API key allows.")
        assert not script.has_connected()
        assert state(script)["refused"] == {"prompt_bytes": 1}


def test_a_body_of_exactly_prompt_bytes_passes():
    with play() as script:
        body = b'{"model":"m-1"}'
        admits(script, prompt_bytes=len(body))
        waiting(script, asks(body))


def test_the_limit_of_all_keeps_its_own_text():
    with play(limits={"body_bytes": 50}) as script:
        admits(script, prompt_bytes=100)
        d = script.downstream()
        d.send(asks(b'{"prompt":"' + b"x" * 100 + b'"}'))
        assert answer(d)[2]["message"] == "The body is too large."


# ---------------------------------------------------------------- max_inflight


def test_one_more_than_max_inflight_is_429_and_the_connection_stays():
    with play() as script:
        admits(script, max_inflight=2)
        callers = [waiting(script, asks()) for _ in range(2)]
        d = script.downstream()
        d.send(asks())
        status, head, error = answer(d)
        assert status == 429 and b"Retry-After: 1\r\n" in head and b"Connection:" not in head
        assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
        assert state(script) | {"index": 0} == {
            "index": 0, "key": "caller", "tenant": "t", "inflight": 2, "max_inflight": 2,
            "waiting": 0, "refused": {"max_inflight": 1},
        }  # fmt: skip
        callers[0][1].send(ok())
        assert callers[0][0].receive().endswith(b"ok")
        d.send(asks())
        assert b"POST " in callers[0][1].receive()
        outcomes = [r["outcome"] for r in script.records()]
        assert outcomes == ["downstream/queued/refused", "ok"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (b"/v1/messages", {"type": "error", "error": {"type": "rate_limit_error"}}),
        (b"/api/chat", {}),
        (b"/generate", {"error_type": "overloaded"}),
    ],
)
def test_the_429_has_the_shape_of_its_dialect(path, kind):
    with play() as script:
        admits(script, max_inflight=1)
        waiting(script, asks())
        d = script.downstream()
        d.send(asks(path=path))
        head, body = split_head(d.receive())
        found = json.loads(body)
        assert head.startswith(b"HTTP/1.1 429 ") and "in flight" in json.dumps(found)
        assert kind.items() <= (found | {"error": {"type": "rate_limit_error"}}).items()


def test_keys_have_places_of_their_own():
    with play() as script:
        script.engine.set_keys([row("k", max_inflight=1), row("l", max_inflight=1)])
        waiting(script, asks())
        waiting(script, json_post(b"{}", extra=shows("l")))


def test_a_request_that_waits_is_next_when_one_has_ended():
    with play() as script:
        admits(script, max_inflight=1, over_inflight="wait")
        d, u = waiting(script, asks())
        others = [script.downstream() for _ in range(3)]
        for k, other in enumerate(others):
            other.send(asks(b'{"user":"%d"}' % k))
        assert state(script)["waiting"] == 3 and not script.has_connected()
        others[1].close()
        assert state(script)["waiting"] == 2
        u.send(ok())
        assert d.receive().endswith(b"ok")
        for k in (0, 2):
            assert u.receive().endswith(b'{"user":"%d"}' % k)
            u.send(ok())
            assert others[k].receive().endswith(b"ok")
        assert state(script)["inflight"] == state(script)["waiting"] == 0


def test_who_waits_too_long_gets_429():
    with play(queue_timeout=0.05) as script:
        admits(script, max_inflight=1, over_inflight="wait")
        waiting(script, asks())
        d = script.downstream()
        d.send(asks())
        script.wait()
        assert answer(d)[0] == 429
        assert state(script)["refused"] == {"max_inflight": 1}


def test_no_more_wait_than_the_queue_of_the_upstream_holds():
    with play(queue=2) as script:
        admits(script, max_inflight=1, over_inflight="wait")
        waiting(script, asks())
        callers = [script.downstream() for _ in range(3)]
        for d in callers:
            d.send(asks())
        assert [d.receive()[:12] for d in callers] == [b"", b"", b"HTTP/1.1 429"]


def test_a_place_comes_before_a_permit():
    """One permit, two keys: the second place of `k` waits for its key, then for the permit."""
    with play(max_inflight=1) as script:
        keys = [row("k", max_inflight=1, over_inflight="wait"), row("l", tenant="u")]
        script.engine.set_keys(keys)
        d, u = waiting(script, asks())
        late, other = script.downstream(), script.downstream()
        late.send(asks(b'{"user":"late"}'))
        other.send(json_post(b'{"user":"other"}', extra=shows("l")))
        assert script.engine.snapshot()["upstreams"][0]["queued"] == 1
        u.send(ok())
        assert d.receive().endswith(b"ok")
        for peer, name in ((other, b"other"), (late, b"late")):
            assert name in u.receive()
            u.send(ok())
            assert peer.receive().endswith(b"ok")


def test_a_reload_that_raises_the_limit_lets_those_that_wait_in():
    with play() as script:
        admits(script, max_inflight=1, over_inflight="wait")
        d, u = waiting(script, asks())
        others = [script.downstream() for _ in range(3)]
        for other in others:
            other.send(asks())
        admits(script, max_inflight=3, over_inflight="wait")
        u.send(ok())
        assert d.receive().endswith(b"ok")
        assert state(script)["inflight"] == 3 and state(script)["waiting"] == 0


class Storm:
    """Callers that come, answers, cuts and aborts in every phase, by a seed."""

    def __init__(self, script, seed, most):
        self.script, self.dice, self.most = script, random.Random(seed), most
        self.callers, self.ups = [], []

    def come(self):
        d = self.script.downstream()
        request = asks(b'{"model":"m-1","user":"%d"}' % self.dice.getrandbits(30))
        whole = self.dice.random() < 0.8
        d.send(request if whole else request[: self.dice.randrange(1, len(request))])
        self.callers.append(d)

    def abort(self):
        if self.callers:
            d = self.callers.pop(self.dice.randrange(len(self.callers)))
            (d.reset if self.dice.random() < 0.5 else d.close)()

    def serve(self):
        if not self.ups:
            return
        u = self.dice.choice(self.ups)
        got = u.receive()
        if hasattr(u, "ended"):
            self.ups.remove(u)
        if hasattr(u, "ended") or b"POST " not in got:
            return
        ending = self.dice.randrange(4)
        if ending == 0:
            u.send(ok())
        elif ending == 1:
            u.send(SSE_HEAD + chunk(event()))
            u.close()
            self.ups.remove(u)
        elif ending == 2:
            u.reset()
            self.ups.remove(u)
        else:
            u.send(SSE_HEAD + chunk(event()) + b"0\r\n\r\n")

    def step(self):
        self.dice.choices((self.come, self.abort, self.serve), (5, 3, 3))[0]()
        while self.script.has_connected():
            self.ups.append(self.script.upstream())
        found = state(self.script)
        upstream = self.script.engine.snapshot()["upstreams"][0]
        assert found["inflight"] <= self.most
        # A place is held exactly as long as a permit, since here no exchange waits for one.
        assert found["inflight"] == upstream["inflight"]
        assert not found["waiting"] or found["inflight"] == self.most


@pytest.mark.parametrize("over", ["refuse", "wait"])
@pytest.mark.parametrize("seed", range(4))
def test_max_inflight_is_exact_in_a_storm_of_aborts(seed, over):
    with play(limits={"connections": 4000}, queue=1000) as script:
        admits(script, max_inflight=5, over_inflight=over)
        storm = Storm(script, seed, 5)
        for _ in range(600):
            storm.step()
        for d in storm.callers:
            d.close()
        found = state(script)
        assert found["inflight"] == found["waiting"] == 0
        assert script.engine.snapshot()["counters"]["permits"] == 0
        for u in storm.ups:
            u.close()
        # As many as before get in.
        callers = [script.downstream() for _ in range(6)]
        for d in callers:
            d.send(asks())
        assert state(script)["inflight"] == 5


def test_a_request_that_never_gets_a_place_leaves_none_behind():
    with play() as script:
        admits(script, max_inflight=1, over_inflight="wait")
        waiting(script, asks())
        d = script.downstream()
        d.send(asks())
        d.reset()
        assert state(script)["waiting"] == 0 and state(script)["inflight"] == 1


def test_get_requests_hold_places_too():
    with play() as script:
        admits(script, max_inflight=1)
        d, u = waiting(script, get(b"/v1/models", extra=KEY))
        other = script.downstream()
        other.send(get(b"/v1/models", extra=KEY))
        assert answer(other)[0] == 429
        u.send(ok())
        assert d.receive().endswith(b"ok")
