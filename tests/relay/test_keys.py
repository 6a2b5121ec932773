"""API keys: callers that pass, fields passed on, answers to the others."""

import json
import re

import pytest
from msgspec.structs import replace

from tests.support.editing import json_post
from tests.support.exchanges import connected, waiting
from tests.support.keys import FORMS, digest, row, shows
from tests.support.script import SSE_HEAD, chunk, event, get, ok, play, post, split_head

JSON = b"Content-Type: application/json\r\n"


@pytest.fixture
def script():
    with play() as s:
        s.engine.set_keys([row("sk-one", name="one", tenant="team")])
        yield s


def json_answer(d):
    head, body = split_head(d.receive())
    return int(head.split()[1]), head, json.loads(body)


def passes(script, request):
    """The request as it went upstream, once the answer is back."""
    d, u = connected(script, request)
    got = u.receive()
    u.send(ok(extra=b"Connection: close\r\n"))
    assert d.receive().startswith(b"HTTP/1.1 200 ")
    d.close()
    u.close()
    return got


def refused_key(script, request, status):
    d = script.downstream()
    d.send(request)
    found, head, body = json_answer(d)
    assert found == status
    assert not script.has_connected()
    return head, body


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_a_key_is_known_in_every_form_and_ends_here(script, form):
    got = passes(script, post(extra=form % b"sk-one" + b"X-Other: stays\r\n"))
    assert b"sk-one" not in got
    assert b"x-api-key" not in got.lower() and b"authorization" not in got.lower()
    assert b"X-Other: stays\r\n" in got
    (record,) = script.records()
    assert record["tenant"] == "team"


@pytest.mark.parametrize(
    "shown",
    [
        b"",
        b"Authorization: Bearer \r\n",
        b"Authorization: Bearer sk-on\r\n",
        b"Authorization: Bearer sk-one2\r\n",
        b"Authorization: Basic sk-one\r\n",
        b"Authorization: sk-one\r\n",
        b"x-api-key:\r\n",
        b"x-api-key: " + b"k" * 5000 + b"\r\n",
        b"Authorization: Bearer wrong\r\nx-api-key: sk-one\r\n",
        b"X-Key: sk-one\r\n",
    ],
)
@pytest.mark.parametrize("request_", [post, get])
def test_without_a_known_key_nothing_is_sent_upstream(script, request_, shown):
    head, body = refused_key(script, request_(extra=shown), 401)
    assert b"WWW-Authenticate: Bearer\r\n" in head
    assert body["error"]["code"] == "invalid_api_key"
    assert "sk-on" not in json.dumps(body)
    assert script.engine.snapshot()["auth"]["unknown"] == 1


def test_anthropic_callers_are_answered_in_their_words(script):
    _, body = refused_key(script, post(b"/v1/messages"), 401)
    assert body["type"] == "error"
    assert body["error"]["type"] == "authentication_error"


def test_two_keys_in_one_request_are_refused(script):
    d = script.downstream()
    d.send(post(extra=b"api-key: sk-one\r\nAPI-Key: sk-two\r\n"))
    assert json_answer(d)[0] == 400


def test_the_list_of_models_wants_a_key_too(script):
    script.engine.set_models(b'{"data":[]}')
    refused_key(script, get(b"/v1/models"), 401)
    d = script.downstream()
    d.send(get(b"/v1/models", extra=shows("sk-one")))
    assert json_answer(d)[0] == 200


def test_every_request_of_a_conn_shows_its_own_key():
    with play() as script:
        script.engine.set_keys([row("a", tenant="A"), row("b", tenant="B")])
        d = script.downstream()
        for key in ("a", "b"):
            d.send(post(extra=shows(key)))
            u = script.upstream()
            u.receive()
            u.send(ok(extra=b"Connection: close\r\n"))
            d.receive()
        d.send(post())
        assert json_answer(d)[0] == 401
        assert [r["tenant"] for r in script.records()] == ["A", "B", ""]


def test_a_key_among_many_is_found():
    with play() as script:
        script.engine.set_keys([row(f"key-{k}", tenant=f"t{k % 7}") for k in range(3000)])
        for k in (0, 1, 1500, 2999):
            passes(script, post(extra=shows(f"key-{k}")))
        assert [r["tenant"] for r in script.records()] == [f"t{k % 7}" for k in (0, 1, 1500, 2999)]
        refused_key(script, post(extra=shows("key-3000")), 401)


# ---------------------------------------------------------------- upstream keys


def test_an_upstream_with_a_key_gets_that_and_not_the_callers():
    with play(api_key="up-secret") as script:
        got = passes(script, post(extra=shows("anything") + b"x-api-key: more\r\n"))
        assert got.count(b"Authorization: Bearer up-secret\r\n") == 1
        assert b"anything" not in got and b"more" not in got


def test_a_key_is_forwarded_only_where_that_was_asked_for():
    with play() as script:
        script.engine.set_keys([row("k")], forward=True)
        assert b"Authorization: Bearer k\r\n" in passes(script, post(extra=shows("k")))


def test_the_upstreams_key_goes_before_the_callers_even_then():
    with play(api_key="own") as script:
        script.engine.set_keys([row("k")], forward=True)
        got = passes(script, post(extra=shows("k")))
        assert b"Bearer own\r\n" in got and b"Bearer k\r\n" not in got


# ---------------------------------------------------------------- quotas


def spend(script, n, **key):
    script.engine.set_keys([row("k", name="caller", **key)])
    for _ in range(n):
        passes(script, post(extra=shows("k")))


def test_requests_above_the_quota_are_told_when_to_come_again():
    with play() as script:
        spend(script, 2, requests=2)
        head, body = refused_key(script, post(extra=shows("k")), 429)
        (wait,) = re.findall(rb"Retry-After: (\d+)\r\n", head)
        assert 1 <= int(wait) <= 31 * 1.25
        assert body["error"]["code"] == "rate_limit_exceeded"
        assert body["error"]["type"] == "requests"
        assert "requests per minute" in body["error"]["message"]
        (quota,) = script.engine.snapshot()["auth"]["quotas"]
        assert (quota["key"], quota["quota"], quota["refused"]) == ("caller", "requests", 1)


def test_a_head_that_comes_byte_by_byte_costs_one_request():
    with play() as script:
        script.engine.set_keys([row("k", requests=2, models=("a",))])
        d = script.downstream()
        d.send_bytewise(json_post(b'{"prompt":"long enough","model":"a"}', extra=shows("k")))
        u = script.upstream()
        u.receive()
        (quota,) = script.engine.quotas()
        assert quota["used"] == 1


def test_tokens_are_charged_when_the_answer_has_ended():
    usage = b'{"usage":{"prompt_tokens":7000,"completion_tokens":50,"total_tokens":7050}}'
    with play() as script:
        script.engine.set_keys([row("k", tokens=100)])
        d, u = waiting(script, json_post(b"{}", extra=shows("k")))
        u.send(ok(usage, extra=JSON))
        d.receive()
        (quota,) = script.engine.quotas()
        assert quota["used"] == 7050
        assert quota["level"] < 0
        d.send(json_post(b"{}", extra=shows("k")))
        status, _, body = json_answer(d)
        assert status == 429
        assert body["error"]["type"] == "tokens"
        assert "tokens per minute" in body["error"]["message"]


PATH = b"/v1/chat/completions"


@pytest.mark.parametrize("path", [PATH, b"/invocations", b"/completion"])
@pytest.mark.parametrize("text", [b"word " * 240, b""])
def test_what_no_server_counted_is_charged_by_an_estimate(path, text):
    """Three events with much text, or many without any: no usage, so the record has what was seen.
    The quota is charged for what went by."""
    with play() as script:
        script.engine.set_keys([row("k", tokens=100)])
        d, u = waiting(script, json_post(b'{"p":"%s"}' % (b"p" * 400), path, shows("k")))
        payload = b'{"choices":[{"index":0,"delta":{"content":"%s"}}]}' % text
        events = [event(payload)] * (3 if text else 320) + [event(b"[DONE]")]
        u.send(SSE_HEAD + chunk(b"".join(events)) + b"0\r\n\r\n")
        d.receive()
        (record,) = script.records()
        assert record["prompt_tokens"] is None
        assert record["exactness"] != "exact"
        (quota,) = script.engine.quotas()
        assert 300 <= quota["used"] <= 1500
        assert quota["level"] < 0


def test_other_answers_without_usage_cost_nothing():
    with play() as script:
        script.engine.set_keys([row("k", tokens=100)])
        d = script.downstream()
        for path in (b"/tokenize", b"/v1/audio/speech", b"/v1/embeddings"):
            d.send(json_post(b'{"p":"x"}', path, shows("k")))
            u = script.upstream()
            u.receive()
            u.send(ok(b"[%s1]" % (b"1," * 5000), extra=JSON + b"Connection: close\r\n"))
            d.receive()
        assert script.engine.quotas()[0]["used"] == 0


def test_anthropic_callers_get_their_kind_of_limit():
    with play() as script:
        spend(script, 1, requests=1)
        _, body = refused_key(script, post(b"/v1/messages", extra=shows("k")), 429)
        assert body["error"]["type"] == "rate_limit_error"


# ---------------------------------------------------------------- other keys, while it runs


def test_a_key_that_is_taken_away_lets_its_running_exchange_finish(script):
    d, u = waiting(script, post(extra=shows("sk-one")))
    script.engine.set_keys([row("sk-two", tenant="others")])
    u.send(ok())
    assert d.receive().startswith(b"HTTP/1.1 200 ")
    d.send(post(extra=shows("sk-one")))
    assert json_answer(d)[0] == 401
    assert [r["tenant"] for r in script.records()] == ["team", ""]


def test_a_key_that_stays_keeps_its_levels_and_its_place():
    with play() as script:
        spend(script, 2, requests=2)
        (before,) = script.engine.quotas()
        script.engine.set_keys([row("new"), row("k", name="renamed", requests=2)])
        (after,) = script.engine.quotas()
        assert after["index"] == before["index"]
        assert after["key"] == "renamed"
        refused_key(script, post(extra=shows("k")), 429)


def test_a_key_that_comes_back_has_not_been_forgiven():
    with play() as script:
        spend(script, 1, requests=1)
        script.engine.set_keys([])
        refused_key(script, post(extra=shows("k")), 401)
        script.engine.set_keys([row("k", requests=1)])
        refused_key(script, post(extra=shows("k")), 429)


def test_without_a_table_every_caller_is_served(script):
    script.engine.set_keys(None)
    passes(script, post())


def test_what_cannot_be_a_table_changes_nothing(script):
    for rows in (
        [row("a"), row("a")],
        [replace(row("a"), sha256="short")],
        [row("a", models=("",))],
    ):
        with pytest.raises(ValueError, match=r"."):
            script.engine.set_keys(rows)
    passes(script, post(extra=shows("sk-one")))


def test_tokens_are_told_apart_by_tenant():
    usage = b'{"model":"m","usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}'
    with play() as script:
        script.engine.set_keys([row("a", tenant="A"), row("b", tenant="B")])
        for key in "aab":
            d, u = waiting(script, json_post(b"{}", extra=shows(key)))
            u.send(ok(usage, extra=JSON + b"Connection: close\r\n"))
            d.receive()
        found = {t["tenant"]: t["prompt"] for t in script.engine.snapshot()["tokens"]}
        assert found == {"A": 14, "B": 7}


def test_no_digest_and_no_key_is_in_the_snapshot(script):
    passes(script, post(extra=shows("sk-one")))
    shown = repr(script.engine.snapshot())
    assert "sk-one" not in shown
    assert digest("sk-one").hex() not in shown and repr(digest("sk-one")) not in shown
