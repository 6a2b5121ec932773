"""Tokens: a head waits for Python's verdict, which is remembered; the wire meanwhile."""

import json
import time

import pytest

from tests.relay.test_keys import json_answer
from tests.support.keys import row, shows
from tests.support.script import get, ok, play, post

T = "aaa.bbb.ccc"
CLOSE = b"Connection: close\r\n"


def start(script, *tenants):
    """Keys for these tenants, and tokens on; returns the index of each key."""
    indices = script.engine.set_keys(
        [row("k", tenant="plain"), *(row(t, tenant=t) for t in tenants)]
    )
    script.engine.set_tokens(True)
    return indices[1:]


def ask(script, token=T, request=None):
    d = script.downstream()
    d.send(request or get(extra=shows(token)))
    return d


def served(script, d):
    """The request as the endpoint has it, once it was answered."""
    u = script.upstream()
    got = u.receive()
    u.send(ok(extra=CLOSE))
    assert d.receive().startswith(b"HTTP/1.1 200 ")
    return got


def one_question(script):
    script.turn()
    ((number, text),) = script.engine.questions()
    return number, text


def tenants(script):
    return [r["tenant"] for r in script.records()]


def test_a_token_waits_for_its_verdict_and_is_asked_about_once():
    with play() as script:
        (key,) = start(script, "team")
        d = ask(script)
        assert not script.has_connected()
        number, text = one_question(script)
        assert text == T.encode()
        assert script.engine.questions() == []
        assert script.engine.answer(number, key=key, seconds=60)
        served(script, d)
        for _ in range(3):
            served(script, ask(script))
        assert script.engine.questions() == []
        assert tenants(script) == ["team"] * 4
        assert script.engine.snapshot()["auth"]["tokens"]["questions"] == 1


@pytest.mark.parametrize("form", [b"Authorization: Bearer %s\r\n", b"x-api-key: %s\r\n"])
def test_it_is_taken_wherever_a_key_is(form):
    with play() as script:
        (key,) = start(script, "team")
        d = ask(script, request=get(extra=form % T.encode()))
        script.engine.answer(one_question(script)[0], key=key, seconds=60)
        served(script, d)


@pytest.mark.parametrize(
    ("refusal", "status", "outcome", "code"),
    [("invalid", 401, "downstream/head/token", "invalid_api_key"),
     ("time", 401, "downstream/head/token", "invalid_api_key"),
     ("unread", 503, "ourselves/head/token", 503)],
)  # fmt: skip
def test_a_refusal_is_answered_in_dialect_and_has_its_outcome(refusal, status, outcome, code):
    with play() as script:
        start(script)
        d = ask(script, request=post(extra=shows(T)))
        script.engine.answer(one_question(script)[0], refusal=refusal, seconds=60)
        found, head, body = json_answer(d)
        assert (found, body["error"]["code"]) == (status, code)
        assert (b'error="invalid_token"' in head) == (status == 401)
        assert (b"Retry-After: " in head) == (status == 503)
        assert not script.has_connected()
        assert d.is_closed()
        d = ask(script, request=post(b"/v1/messages", extra=shows(T)))
        found, _, body = json_answer(d)
        assert (found, body["type"]) == (status, "error")
        assert script.engine.questions() == [], "it is remembered"
        assert [r["outcome"] for r in script.records()] == [outcome] * 2


def test_what_is_not_remembered_is_asked_again():
    with play() as script:
        start(script)
        for _ in range(2):
            d = ask(script)
            script.engine.answer(one_question(script)[0], refusal="unread")
            assert json_answer(d)[0] == 503


def test_a_verdict_ends_with_its_time():
    with play() as script:
        (key,) = start(script, "team")
        d = ask(script)
        script.engine.answer(one_question(script)[0], key=key, seconds=0.05)
        served(script, d)
        time.sleep(0.06)
        d = ask(script)
        script.engine.answer(one_question(script)[0], refusal="time", seconds=60)
        assert json_answer(d)[0] == 401


@pytest.mark.parametrize(
    "token",
    ["..", "a..c", ".b.c", "a.b.", "a.b.c=", "a.b.c+d", "a.b.c d", "a.b.\xe9", "a.b./c",
     "a.b." + "c" * 8192],
)  # fmt: skip
def test_what_cannot_be_a_token_is_refused_without_a_question(token):
    with play() as script:
        start(script)
        d = ask(
            script, request=get(extra=b"Authorization: Bearer %s\r\n" % token.encode("latin-1"))
        )
        assert json_answer(d)[0] == 401
        assert script.engine.questions() == []


@pytest.mark.parametrize("text", ["a", "a.b", "a.b.c.d.e"])
def test_other_texts_are_keys(text):
    with play() as script:
        start(script, text)
        script.engine.set_keys([row(text, tenant="t")])
        served(script, ask(script, text))
        assert script.engine.questions() == []
        d = ask(script, text + "x")
        assert json_answer(d)[0] == 401
        assert script.records()[-1]["outcome"] == "downstream/head/refused"


def test_without_issuers_a_token_is_a_key_like_others():
    with play() as script:
        script.engine.set_keys([row(T, tenant="t")])
        served(script, ask(script))
        start(script)
        script.engine.set_tokens(False)
        d = ask(script)
        assert json_answer(d)[0] == 401
        assert script.engine.questions() == []


# ---------------------------------------------------------------- while it waits


def test_all_that_show_one_token_wait_for_one_question():
    with play() as script:
        (key,) = start(script, "team")
        callers = [ask(script) for _ in range(5)]
        callers[1].close()
        callers[4].reset()
        number, _ = one_question(script)
        late = ask(script)
        assert script.engine.questions() == []
        assert script.engine.answer(number, key=key, seconds=60)
        for _ in range(4):
            u = script.upstream()
            u.receive()
            u.send(ok(extra=CLOSE))
        for d in (callers[0], callers[2], callers[3], late):
            assert d.receive().startswith(b"HTTP/1.1 200 ")
        outcomes = sorted(r["outcome"] for r in script.records())
        assert outcomes == ["downstream/pending/closed", "downstream/pending/reset"] + ["ok"] * 4


def test_a_caller_that_leaves_leaves_its_question_to_the_next():
    with play() as script:
        (key,) = start(script, "team")
        d = ask(script)
        number, _ = one_question(script)
        d.close()
        assert script.counters()["relays"] == 0
        assert script.engine.answer(number, key=key, seconds=60)
        served(script, ask(script))


def test_a_head_in_pieces_waits_as_one_does():
    with play() as script:
        (key,) = start(script, "team")
        d = script.downstream()
        d.send_bytewise(post(body=b'{"a":1}', extra=shows(T)))
        assert not script.has_connected()
        script.engine.answer(one_question(script)[0], key=key, seconds=60)
        assert served(script, d).endswith(b'\r\n\r\n{"a":1}')


@pytest.mark.parametrize("size", [10, 5_000, 60_000, 300_000])
def test_a_body_that_comes_meanwhile_is_passed_on_whole(size):
    body = b'{"p":"' + b"x" * size + b'"}'
    request = post(body=body, extra=shows(T) + CLOSE)
    with play() as script:
        (key,) = start(script, "team")
        d = script.downstream()
        sent = d.send_some(request[: len(request) - len(body) + size // 2])
        assert not script.has_connected()
        number, _ = one_question(script)
        sent += d.send_some(request[sent:])
        assert not script.has_connected()
        assert script.counters()["block_bytes"] <= 70_000, "one block, and no more is read"
        script.engine.answer(number, key=key, seconds=60)
        u = script.upstream()
        got = u.receive()
        while sent < len(request) or not got.endswith(b'"}'):
            sent += d.send_some(request[sent:])
            got += u.receive()
        assert got.partition(b"\r\n\r\n")[2] == body
        u.send(ok())
        assert d.receive().startswith(b"HTTP/1.1 200 ")


def test_a_request_behind_it_waits_for_its_turn():
    with play() as script:
        (key,) = start(script, "team")
        d = script.downstream()
        d.send(get(b"/one", extra=shows(T)) + get(b"/two", extra=shows("k")))
        assert not script.has_connected()
        script.engine.answer(one_question(script)[0], key=key, seconds=60)
        u = script.upstream()
        assert u.receive().startswith(b"GET /one ")
        u.send(ok())
        assert u.receive().startswith(b"GET /two ")
        u.send(ok())
        assert d.receive().count(b"HTTP/1.1 200 ") == 2
        assert tenants(script) == ["team", "plain"]


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_after_a_refusal_nothing_behind_it_is_served(body):
    with play() as script:
        start(script)
        d = script.downstream()
        d.send(post(body=body, extra=shows(T)) + get(extra=shows("k")))
        script.engine.answer(one_question(script)[0], refusal="invalid", seconds=60)
        assert json_answer(d)[0] == 401
        assert not script.has_connected()
        d.finish()
        assert d.is_closed()
        assert len(script.records()) == 1


def test_an_answer_that_does_not_come_is_a_503():
    with play() as script:
        start(script)
        d = ask(script)
        number, _ = one_question(script)
        script.wait(30)
        status, _, body = json_answer(d)
        assert status == 503
        assert "token" in body["error"]["message"]
        assert [r["outcome"] for r in script.records()] == ["ourselves/pending/overload"]
        assert not script.has_connected()
        assert script.engine.answer(number, refusal="invalid", seconds=60), "it may come late"


def test_questions_are_bounded():
    with play(limits={"connections": 1000}) as script:
        (key,) = start(script, "team")
        callers = [ask(script, f"a.b.c{k}") for k in range(256)]
        d = ask(script, "a.b.one-more")
        assert json_answer(d)[0] == 503
        assert script.engine.snapshot()["auth"]["tokens"] == {
            "on": True, "questions": 256, "turned_away": 1,
        }  # fmt: skip
        served(script, ask(script, "k")), "keys are not concerned"
        same = ask(script, "a.b.c7")
        for number, _ in script.engine.questions():
            script.engine.answer(number, refusal="invalid", seconds=60)
        for d in (*callers, same):
            assert json_answer(d)[0] == 401
        d = ask(script, "a.b.one-more")
        script.engine.answer(one_question(script)[0], key=key, seconds=60)
        served(script, d)


def test_garbage_pushes_out_no_good_token():
    with play() as script:
        (key,) = start(script, "team")
        d = ask(script)
        script.engine.answer(one_question(script)[0], key=key, seconds=60)
        served(script, d)
        for k in range(2000):
            d = ask(script, f"x.y.z{k}")
            script.engine.answer(one_question(script)[0], refusal="invalid", seconds=60)
            d.close()
        served(script, ask(script))
        assert script.engine.questions() == []


def test_a_shutdown_answers_those_that_wait():
    with play() as script:
        start(script)
        d = ask(script)
        script.engine.drain()
        script.engine.close_all()
        assert d.receive().startswith(b"HTTP/1.1 503 ")
        assert [r["outcome"] for r in script.records()] == ["ourselves/pending/drained"]


# ---------------------------------------------------------------- while it runs


def test_a_token_of_a_key_that_is_gone_is_asked_about_again():
    with play() as script:
        (key,) = start(script, "team")
        d = ask(script)
        script.engine.answer(one_question(script)[0], key=key, seconds=60)
        served(script, d)
        script.engine.set_keys([row("k")])
        d = ask(script)
        script.engine.answer(one_question(script)[0], refusal="invalid", seconds=60)
        assert json_answer(d)[0] == 401


def test_other_issuers_begin_with_no_verdicts_and_questions_are_asked_again():
    with play() as script:
        (key,) = start(script, "team")
        d = ask(script)
        old, _ = one_question(script)
        script.engine.set_tokens(True)
        new, text = one_question(script)
        assert (text, new != old) == (T.encode(), True)
        assert not script.engine.answer(old, key=key, seconds=60)
        assert script.engine.answer(new, key=key, seconds=60)
        served(script, d)
        script.engine.forget_tokens()
        d = ask(script)
        script.engine.answer(one_question(script)[0], key=key, seconds=60)
        served(script, d)


def test_if_tokens_are_switched_off_those_that_wait_have_an_unknown_key():
    with play() as script:
        start(script)
        d = ask(script)
        script.engine.set_tokens(False)
        assert json_answer(d)[0] == 401


def test_terms_of_the_key_hold_for_its_tokens():
    with play() as script:
        script.engine.set_tokens(True)
        (key,) = script.engine.set_keys([row("x", tenant="t", requests=2)])
        for k in range(2):
            d = ask(script, f"a.b.c{k}")
            script.engine.answer(one_question(script)[0], key=key, seconds=60)
            served(script, d)
        assert json_answer(ask(script, "a.b.c0"))[0] == 429


@pytest.mark.parametrize(
    ("keys", "error"),
    [({"key": 99}, IndexError), ({"key": "0"}, TypeError), ({"refusal": "no"}, ValueError),
     ({}, ValueError), ({"key": 0, "seconds": -1}, ValueError)],
)  # fmt: skip
def test_what_is_no_answer_changes_nothing(keys, error):
    with play() as script:
        (key,) = start(script, "team")
        d = ask(script)
        number, _ = one_question(script)
        with pytest.raises(error):
            script.engine.answer(number, **keys)
        for wrong in (number + 1, number + (1 << 32), 255, (1 << 64) - 1):
            assert not script.engine.answer(wrong, key=key, seconds=60)
        assert script.engine.answer(number, key=key, seconds=60)
        assert not script.engine.answer(number, key=key, seconds=60)
        served(script, d)


def test_no_token_is_in_the_snapshot():
    with play() as script:
        (key,) = start(script, "team")
        d = ask(script)
        assert T not in json.dumps(script.engine.snapshot())
        script.engine.answer(one_question(script)[0], key=key, seconds=60)
        served(script, d)
        assert T not in json.dumps(script.engine.snapshot())
