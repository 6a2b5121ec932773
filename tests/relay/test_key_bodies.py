"""Terms of a key on bodies: bounds lowered and inserted, choices refused."""

import json
import re

import pytest

from tests.support.editing import form, json_post, length_of
from tests.support.exchanges import waiting
from tests.support.keys import row, shows
from tests.support.script import get, ok, play, split_head

KEY = shows("k")
CHAT = b"/v1/chat/completions"
CAP = {"max_tokens": 100}


@pytest.fixture(params=[{}], ids=["plain"])
def script(request):
    with play(**request.param) as s:
        yield s


def admits(script, **terms):
    script.engine.set_keys([row("k", name="caller", **terms)])


def passed(script, body, path=CHAT, extra=b""):
    """The body as the server got it."""
    d, u = script.downstream(), None
    d.send(json_post(body, path, KEY + extra))
    u = script.upstream()
    head, got = split_head(u.receive())
    assert length_of(head) == len(got)
    u.send(ok(extra=b"Connection: close\r\n"))
    assert b"ok" in split_head(d.receive())[1]
    d.close()
    u.close()
    return got


def refused(script, body, path=CHAT, extra=b""):
    """(status, message) of the refusal; nothing has gone upstream."""
    d = script.downstream()
    d.send(json_post(body, path, KEY + extra))
    head, answer = split_head(d.receive())
    assert not script.has_connected()
    found = json.loads(answer)["error"]
    return int(head.split()[1]), found["message"] if isinstance(found, dict) else found


# ---------------------------------------------------------------- what is made of a body

LOWERED = [
    (CHAT, {"max_tokens": 5000}, {"max_tokens": 100}),
    (CHAT, {"max_tokens": 100}, {"max_tokens": 100}),
    (CHAT, {"max_tokens": 0}, {"max_tokens": 0}),
    (CHAT, {"max_tokens": 10**23}, {"max_tokens": 100}),
    (CHAT, {"max_completion_tokens": 5000}, {"max_completion_tokens": 100}),
    (CHAT, {"max_tokens": 7, "max_completion_tokens": 101},
     {"max_tokens": 7, "max_completion_tokens": 100}),
    (CHAT, {"n_predict": 999, "max_tokens": 999}, {"n_predict": 100, "max_tokens": 100}),
    (b"/v1/completions", {"prompt": "a", "max_tokens": 4294967296}, {"max_tokens": 100}),
    (b"/v1/responses", {"input": "a", "max_output_tokens": 12345}, {"max_output_tokens": 100}),
    (b"/v1/messages", {"messages": [{"max_tokens": 999}], "max_tokens": 999}, {"max_tokens": 100}),
    (b"/completion", {"prompt": "a", "n_predict": 999}, {"n_predict": 100}),
    (b"/infill", {"n_predict": 999}, {"n_predict": 100}),
    (b"/api/chat", {"options": {"seed": 1, "num_predict": 999}},
     {"options": {"seed": 1, "num_predict": 100}}),
    (b"/generate", {"inputs": "a", "parameters": {"max_new_tokens": 999, "x": [{"n": 1}]}},
     {"parameters": {"max_new_tokens": 100, "x": [{"n": 1}]}}),
    (b"/generate", {"text": "a", "sampling_params": {"max_new_tokens": 999}},
     {"sampling_params": {"max_new_tokens": 100}}),
    (b"/inference/v1/generate", {"sampling_params": {"max_tokens": 999}},
     {"sampling_params": {"max_tokens": 100}}),
    (b"/worker_generate_stream", {"max_new_tokens": 999}, {"max_new_tokens": 100}),
    # Any other path: what is named is lowered.
    (b"/v1/else", {"max_tokens": 999}, {"max_tokens": 100}),
]  # fmt: skip

INSERTED = [
    (CHAT, {"messages": []}, {"max_tokens": 100}),
    (CHAT, {}, {"max_tokens": 100}),
    (CHAT, {"max_tokens": None}, {"max_tokens": 100}),
    (CHAT, {"max_completion_tokens": None}, {"max_completion_tokens": 100}),
    (CHAT, {"max_tokens": 7, "max_completion_tokens": None}, {}),
    (CHAT, {"n_predict": 7}, {"max_tokens": 100}),
    (CHAT, {"n_predict": 7, "max_tokens": None}, {"max_tokens": 100}),
    (CHAT, {"max_output_tokens": None}, {"max_tokens": 100}),
    (CHAT, {"options": {"num_predict": 5}}, {"max_tokens": 100}),
    (CHAT, {"messages": [{"max_tokens": 5}], "metadata": {"max_tokens": 5}}, {"max_tokens": 100}),
    (b"/v1/chat/completions/batch", {"messages": [[]]}, {"max_tokens": 100}),
    (b"/v1/completions", {"max_completion_tokens": 5}, {"max_tokens": 100}),
    (b"/invocations", {"prompt": "a"}, {"max_tokens": 100}),
    (b"/v1/responses", {"max_tokens": 5}, {"max_output_tokens": 100}),
    (b"/v1/messages", {}, {"max_tokens": 100}),
    (b"/completion", {"prompt": "a"}, {"n_predict": 100}),
    (b"/completion", {"max_tokens": 5}, {}),
    (b"/infill", {}, {"n_predict": 100}),
    (b"/api/generate", {"prompt": "a"}, {"options": {"num_predict": 100}}),
    (b"/api/chat", {"options": {}}, {"options": {"num_predict": 100}}),
    (b"/api/chat", {"options": None}, {"options": {"num_predict": 100}}),
    (b"/api/chat", {"options": {"seed": 1}}, {"options": {"seed": 1, "num_predict": 100}}),
    (b"/api/chat", {"options": {"num_predict": None}}, {"options": {"num_predict": 100}}),
    (b"/generate", {"inputs": "a"}, {"parameters": {"max_new_tokens": 100}}),
    (b"/generate_stream", {"parameters": {"a": {}}},
     {"parameters": {"a": {}, "max_new_tokens": 100}}),
    (b"/", {"inputs": "a"}, {"parameters": {"max_new_tokens": 100}}),
    (b"/generate", {"text": "a"}, {"sampling_params": {"max_new_tokens": 100}}),
    (b"/generate", {"input_ids": [1], "parameters": {"max_new_tokens": 1}},
     {"sampling_params": {"max_new_tokens": 100}}),
    (b"/generate", {"text": "a", "sampling_params": {"top_k": 1}},
     {"sampling_params": {"top_k": 1, "max_new_tokens": 100}}),
    (b"/inference/v1/generate", {"sampling_params": {}}, {"sampling_params": {"max_tokens": 100}}),
    (b"/worker_generate", {}, {"max_new_tokens": 100}),
    # Nothing is generated there.
    (b"/v1/embeddings", {"input": "a"}, {}),
    (b"/v1/messages/count_tokens", {"messages": []}, {}),
    (b"/tokenize", {"prompt": "a"}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "change"), LOWERED + INSERTED)
@pytest.mark.parametrize(
    "style", [(",", ":"), (" , ", " : "), None], ids=["tight", "wide", "usual"]
)
def test_a_bound_is_lowered_or_inserted(script, path, body, change, style):
    admits(script, **CAP)
    got = passed(script, json.dumps(body, separators=style).encode(), path)
    assert json.loads(got) == body | change
    assert len(re.findall(rb'"max_tokens"', got)) <= got.count(b"{")


def test_a_default_is_inserted_and_nothing_lowered(script):
    admits(script, max_tokens_default=50)
    assert json.loads(passed(script, b'{"messages":[]}'))["max_tokens"] == 50
    for body in (b'{"max_tokens":5000}', b'{"max_tokens":"many"}', b'{"max_tokens":-1}'):
        assert passed(script, body) == body


def test_a_default_below_the_cap(script):
    admits(script, max_tokens=100, max_tokens_default=50)
    assert json.loads(passed(script, b'{"messages":[]}'))["max_tokens"] == 50
    assert json.loads(passed(script, b'{"max_tokens":70}'))["max_tokens"] == 70
    assert json.loads(passed(script, b'{"max_tokens":700}'))["max_tokens"] == 100


def test_a_key_without_terms_changes_no_byte(script):
    script.engine.set_keys([row("k"), row("l", **CAP, n=1)])
    body = b'{ "max_tokens" : 99999, "n": 7, "MAX_TOKENS": -1 }'
    assert passed(script, body) == body


def test_lowering_keeps_the_length_and_every_other_byte(script):
    admits(script, **CAP)
    body = b'{"a": [1, {"max_tokens": 9999}],\n "max_tokens":5000 ,"z":"\\u00e9 \xc3\xa9"}'
    assert passed(script, body) == body.replace(b":5000 ,", b":100  ,")


def test_digests_of_a_lowered_body_are_dropped(script):
    admits(script, **CAP)
    d, u = waiting(script, json_post(b'{"max_tokens":7}', CHAT, KEY + b"Content-MD5: x\r\n"))
    u.send(ok())
    d.receive()
    d.send(json_post(b'{"max_tokens":700}', CHAT, KEY + b"Content-MD5: x\r\n"))
    assert b"content-md5" not in u.receive().lower()


# ---------------------------------------------------------------- odd bodies

ODD = [
    b'{"max_tokens":"50"}', b'{"max_tokens":50.0}', b'{"max_tokens":5e1}', b'{"max_tokens":-1}',
    b'{"max_tokens":true}', b'{"max_tokens":[1]}', b'{"max_tokens":{}}', b'{"max_tokens":007}',
    b'{"max_tokens":1,"max_tokens":2}', b'{"max_tokens":1,"max_tokens":null}',
    b'{"max\\u005ftokens":5}', b'{"Max_Tokens":5}', b'{"MAX_COMPLETION_TOKENS":5}',
    b'{"max_tokens":1' + b"0" * 30 + b"}", b'{"max_tokens":+5}', b'{"max_tokens":.5}',
    b'{"options":{"num_predict":-1}}', b'{"options":{},"options":{}}', b'{"Options":{}}',
    b'{"options":[{"num_predict":5}]}', b'{"sampling_params":[{"max_new_tokens":5}]}',
    b'{"options":{"num_predict":1,"num_predict":2}}', b'{"parameters":"x"}',
    b'{"n_predict":-1,"max_tokens":5}',
    b'{"parameters":{"max_new_tokens":1},"sampling_params":{"max_new_tokens":"1"}}',
]  # fmt: skip


@pytest.mark.parametrize("body", ODD)
def test_odd_bounds_are_refused_where_there_is_a_cap(script, body):
    admits(script, **CAP)
    status, message = refused(script, body)
    assert status == 400 and message.startswith("This API key limits the tokens of an answer")
    (found,) = script.engine.key_terms()
    assert found["refused"] == {"max_tokens": 1}


@pytest.mark.parametrize(
    ("body", "is_refused"),
    [
        (b'{"n":2}', False), (b'{"n":3}', True), (b'{"n":null}', False), (b'{"n":0}', False),
        (b'{"n":"1"}', True), (b'{"n":1.0}', True), (b'{"n":-1}', True), (b'{"n":1,"n":1}', True),
        (b'{"N":1}', True), (b'{"\\u006e":1}', True), (b'{"best_of":3}', True),
        (b'{"n":1,"best_of":2}', False), (b'{"n_cmpl":3}', True),
        (b'{"sampling_params":{"n":3}}', True), (b'{"parameters":{"best_of":3}}', True),
        (b'{"n":99999999999999999999}', True), (b'{"messages":[{"n":3}]}', False),
        (b'{"max_tokens":"50"}', False), (b'{"options":[]}', True),
    ],
)  # fmt: skip
def test_choices_above_n_are_refused(script, body, is_refused):
    admits(script, n=2)
    if not is_refused:
        assert passed(script, body) == body
        return
    status, message = refused(script, body)
    assert status == 400 and message.startswith("This API key limits the choices of a request")
    assert script.engine.key_terms()[0]["refused"] == {"n": 1}


UNREADABLE = [
    (b'{"max_tokens":1}', b"Content-Encoding: gzip\r\n", CHAT),
    (b'\xef\xbb\xbf{"max_tokens":1}', b"", CHAT),
    (b"[1]", b"", CHAT),
    (b'"x"', b"", b"/v1/completions"),
]


@pytest.mark.parametrize(("body", "extra", "path"), UNREADABLE)
def test_a_body_in_which_terms_cannot_be_read_is_refused(script, body, extra, path):
    admits(script, **CAP)
    status, message = refused(script, body, path, extra)
    assert status == 400 and message.startswith("This API key has limits that are looked for")


@pytest.mark.parametrize("method", [b"PUT", b"PATCH"])
def test_another_method_hides_no_bound(script, method):
    admits(script, **CAP)
    d = script.downstream()
    d.send(json_post(b'{"max_tokens":999}', CHAT, KEY).replace(b"POST", method, 1))
    assert d.receive().startswith(b"HTTP/1.1 400 ")
    assert not script.has_connected()


def test_a_session_over_websocket_is_refused(script):
    admits(script, **CAP)
    d = script.downstream()
    d.send(get(b"/v1/realtime", KEY + b"Upgrade: websocket\r\nConnection: upgrade\r\n"))
    assert d.receive().startswith(b"HTTP/1.1 400 ")


def test_forms_and_requests_without_a_body_pass(script):
    admits(script, **CAP, n=1)
    d, u = waiting(script, form(b"whisper", extra=KEY))
    u.send(ok())
    assert d.receive().endswith(b"ok")
    d.send(get(extra=KEY))
    assert u.receive().startswith(b"GET ")


def test_the_connection_stays_after_a_refusal_of_a_body_that_was_read(script):
    admits(script, **CAP)
    d = script.downstream()
    d.send(json_post(b'{"max_tokens":-1}', CHAT, KEY) + json_post(b'{"max_tokens":7}', CHAT, KEY))
    head, _ = split_head(d.receive())
    assert head.startswith(b"HTTP/1.1 400 ") and b"Connection: close" not in head
    u = script.upstream()
    assert u.receive().endswith(b'{"max_tokens":7}')
    u.send(ok())
    assert d.receive().endswith(b"ok")
    assert [r["outcome"] for r in script.records()] == ["downstream/head/refused", "ok"]


def test_it_closes_where_the_body_is_not_read(script):
    admits(script, **CAP)
    d = script.downstream()
    request = json_post(b'{"max_tokens":-1,"p":"%s"}' % (b"x" * 100_000), CHAT, KEY)
    d.send(request[:70_000])
    head, _ = split_head(d.receive())
    assert head.startswith(b"HTTP/1.1 400 ") and b"Connection: close" in head


@pytest.mark.parametrize("kind", [400, 422])
def test_a_retry_without_usage_keeps_the_terms(kind):
    """The edit that requests usage is undone; the inserted bound stays."""
    with play(usage_request="usage") as script:
        admits(script, **CAP)
        _, u = waiting(script, json_post(b'{"stream":true}', CHAT, KEY))
        u.send(b"HTTP/1.1 %d Bad\r\nContent-Length: 2\r\n\r\n{}" % kind)
        u = script.upstream()
        _, got = split_head(u.receive())
        assert json.loads(got) == {"stream": True, "max_tokens": 100}


# ---------------------------------------------------------------- max_tokens = "model"


def test_a_cap_is_what_the_model_holds(script):
    admits(script, max_tokens="model")
    body = b'{"max_tokens":99999}'
    assert passed(script, body) == body
    script.engine.set_endpoint(0, model_len=8192)
    assert json.loads(passed(script, body)) == {"max_tokens": 8192}
    assert json.loads(passed(script, b"{}")) == {"max_tokens": 8192}
    assert refused(script, b'{"max_tokens":"x"}')[0] == 400


def test_the_shortest_of_several_endpoints_decides():
    with play(endpoints=3) as script:
        admits(script, max_tokens="model")
        for k, n in enumerate((4096, 2048, 0)):
            script.engine.set_endpoint(k, model_len=n)
        d = script.downstream()
        d.send(json_post(b'{"max_tokens":99999}', CHAT, KEY))
        (u,) = (script.upstream(k) for k in range(3) if script.has_connected(k))
        assert json.loads(split_head(u.receive())[1]) == {"max_tokens": 2048}
