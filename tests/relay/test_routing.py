"""Several upstreams: a request goes to the one that serves its model."""

import json

import pytest

from tests.support.editing import json_post, length_of, unchunk
from tests.support.exchanges import connected, waiting
from tests.support.keys import row, shows
from tests.support.script import EXPECT, chunk, get, ok, play, post, split_head
from tests.support.settings import routes
from zeroproxy.config.schema import Hash

JSON = b"Content-Type: application/json\r\n"
HASH = Hash(on=("user",), prefix_bytes=64, load_bound=1000.0)
CHUNKED = (
    b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + JSON + b"\r\n"
)


@pytest.fixture
def script():
    """a goes to 0, b to 1, everything else to 2."""
    with play(endpoints=3, upstreams=["one", "two", "rest"]) as s:
        s.engine.set_routes(routes(("a", 0), ("b", 1)), default=2)
        yield s


def goes_to(script, request):
    d = script.downstream()
    d.send(request)
    (k,) = [k for k in range(len(script.sources)) if script.has_connected(k)]
    u = script.upstream(k)
    got = u.receive()
    u.send(ok(extra=b"Connection: close\r\n"))
    d.receive()
    d.close()
    u.close()
    return k, got


@pytest.mark.parametrize(
    ("body", "index"),
    [
        (b'{"model":"a"}', 0),
        (b'{"x":{"model":"a"},"model" : "b"}', 1),
        (b'{"model":"c"}', 2),
        (b'{"model":null}', 2),
        (b'{"model":{"model":"a"}}', 2),
        (b"{}", 2),
        (b"[]", 2),
        (b"no json", 2),
        (b'{"messages":["\\"model\\":\\"a\\""],"model":"b"}', 1),
    ],
)
def test_the_body_says_where_a_request_goes(script, body, index):
    k, got = goes_to(script, json_post(body))
    head, sent = split_head(got)
    assert k == index
    assert sent == body
    assert length_of(head) == len(body)


def test_no_request_goes_by_half_a_name_of_a_second_model():
    """It was refused, or went to the default, where a look ended inside the second name."""
    whole = b'{"model":"a","seed":1,"model":"b","n":1}'
    request = json_post(whole)
    for k in range(len(request) - len(whole), len(request)):
        with play(endpoints=2, upstreams=["one", "two"]) as script:
            script.engine.set_routes(routes(("a", 0), ("b", 1)), default=None)
            d = script.downstream()
            d.send(request[:k])
            d.send(request[k:])
            is_first = script.has_connected(0)
            assert is_first != script.has_connected(1), k
            behind = k - (len(request) - len(whole))
            assert is_first == (len(b'{"model":"a"') <= behind < whole.rindex(b':"b')), k


def test_the_model_is_found_in_any_split_and_nothing_is_sent_before():
    whole = b'{"messages":["' + b"x" * 300 + b'"],"model":"b","stream":false}'
    request = json_post(whole)
    begin = len(request) - len(whole)
    for k in range(begin, len(request), 7):
        with play(endpoints=2, upstreams=["one", "two"]) as script:
            script.engine.set_routes(routes(("a", 0), ("b", 1)), default=0)
            d = script.downstream()
            d.send(request[:k])
            early = b'"model":"b"' in request[:k]
            assert not script.has_connected(0)
            if not early:
                assert not script.has_connected(1)
            d.send(request[k:])
            _, sent = split_head(script.upstream(1).receive())
            assert sent == whole


def by_model():
    script = play(endpoints=2, upstreams=["one", "two"])
    return script, lambda s: s.engine.set_routes(routes(("a", 0), ("b", 1)), default=None)


def by_user():
    return play(endpoints=2, balance="consistent_hash", hash=HASH), lambda s: None


def by_key():
    return play(), lambda s: s.engine.set_keys([row("k", models=("b",))])


def closing(body, kind):
    """A request behind which the conn ends."""
    head = b"POST /v1/completions HTTP/1.%d\r\nHost: a\r\n%s%sContent-Length: %d\r\n%s\r\n"
    minor, line = (0, b"") if kind == "1.0" else (1, b"Connection: close\r\n")
    return head % (minor, line, JSON, len(body), shows("k")) + body


@pytest.mark.parametrize("kind", ["close", "1.0"])
@pytest.mark.parametrize("mode", [by_model, by_user, by_key])
@pytest.mark.parametrize("at", [-1, 0, 1, 20, 3000])
def test_a_conn_that_ends_with_the_request_waits_for_the_rest_of_it(mode, kind, at):
    """The head stands in the in-buffer while what is waited for is still to come."""
    body = b'{"messages":["%s"],"model":"b","user":"u"}' % (b"x" * 5000)
    request = closing(body, kind)
    cut = len(request) - len(body) + at
    play_, begin = mode()
    with play_ as script:
        begin(script)
        d = script.downstream()
        d.send(request[:cut])
        d.send(request[cut:])
        (k,) = [k for k in range(len(script.sources)) if script.has_connected(k)]
        u = script.upstream(k)
        assert split_head(u.receive())[1] == body
        u.send(ok(b"fine"))
        got = d.receive()
        assert got.startswith(b"HTTP/1.1 200 ")
        assert got.endswith(b"fine")
        assert d.is_closed()


def test_single_bytes_are_enough(script):
    d = script.downstream()
    d.send_bytewise(json_post(b'{"prompt":"hello","model":"b"}'))
    u = script.upstream(1)
    assert split_head(u.receive())[1] == b'{"prompt":"hello","model":"b"}'


def test_a_chunked_body_says_it_too(script):
    whole = b'{"prompt":"p","model":"b"}'
    d = script.downstream()
    d.send(CHUNKED + chunk(whole[:5]) + chunk(whole[5:9]))
    d.send(chunk(whole[9:]) + b"0\r\n\r\n")
    _, sent = split_head(script.upstream(1).receive())
    assert unchunk(sent) == whole


def test_a_caller_who_waits_for_a_word_gets_it_once(script):
    head, body = split_head(json_post(b'{"model":"b"}', extra=b"Expect: 100-continue\r\n"))
    d = script.downstream()
    d.send(head)
    assert d.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
    d.send(body)
    u = script.upstream(1)
    u.receive()
    u.send(ok(b"fine"))
    assert d.receive().startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("n", [40_000, 60_000])
def test_a_model_behind_long_messages_is_found(script, n, chunked):
    whole = b'{"messages":"%s","model":"a"}' % (b"p" * n)
    request = CHUNKED + chunk(whole) + b"0\r\n\r\n" if chunked else json_post(whole)
    k, got = goes_to(script, request)
    sent = split_head(got)[1]
    assert k == 0
    assert (unchunk(sent) if chunked else sent) == whole


@pytest.mark.parametrize("default", [2, None])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_model_that_comes_too_late_is_refused_with_the_reason(script, default, chunked):
    script.engine.set_routes(routes(("a", 0), ("b", 1)), default=default)
    whole = b'{"messages":"%s","model":"a"}' % (b"p" * 90_000)
    d = script.downstream()
    d.send_some(CHUNKED + chunk(whole) + b"0\r\n\r\n" if chunked else json_post(whole))
    head, body = split_head(d.receive())
    assert head.startswith(b"HTTP/1.1 400 ")
    assert "first 64 KiB" in json.loads(body)["error"]["message"]
    assert not any(script.has_connected(k) for k in range(3))


@pytest.mark.parametrize("body", [b"{}", b'{"model":null}', b"[]", b"no json"])
def test_a_body_without_a_model_goes_nowhere_if_nobody_takes_it(script, body):
    script.engine.set_routes(routes(("a", 0), ("b", 1)), default=None)
    d = script.downstream()
    d.send(post(body=body))
    head, text = split_head(d.receive())
    assert head.startswith(b"HTTP/1.1 400 ")
    assert "names no model" in json.loads(text)["error"]["message"]


def test_a_compressed_body_that_would_have_to_be_routed_is_refused_by_its_reason(script):
    """It was answered that it names no model."""
    script.engine.set_routes(routes(("a", 0), ("b", 1)), default=None)
    d = script.downstream()
    d.send(json_post(b'{"model":"a"}', extra=b"Content-Encoding: gzip\r\n"))
    head, text = split_head(d.receive())
    assert head.startswith(b"HTTP/1.1 415 ")
    assert "Content-Encoding" in json.loads(text)["error"]["message"]


NAME = "org/\u6a21\u578b"
SPELLINGS = [b'"org\\/\\u6a21\\u578b"', b'"\\u006frg/\\u6A21\\u578B"', f'"{NAME}"'.encode()]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("real", ["", "real", "r" * 250])
@pytest.mark.parametrize("later", [0, 4])
def test_a_name_is_one_name_in_every_spelling(spelling, real, later):
    with play(endpoints=2, upstreams=["one", "two"]) as script:
        script.engine.set_routes(routes(("a", 0), (NAME, 1, real)), default=None)
        body = b'{"x":1,"model": %s,"y":2}' % spelling
        request = json_post(body)
        d = script.downstream()
        d.send(request[: len(request) - later])
        d.send(request[len(request) - later :])
        u = script.upstream(1)
        head, sent = split_head(u.receive())
        assert length_of(head) == len(sent)
        assert json.loads(sent)["model"] == (real or NAME)
        u.send(ok(b'{"model":%s,"usage":{"prompt_tokens":1,"completion_tokens":1}}' % spelling,
                  extra=JSON))  # fmt: skip
        d.receive()
        assert script.records()[0]["model"] == NAME


def test_long_names_are_told_apart():
    """79 and 81 bytes, up to 256, and beyond: in routes, in records and in what is counted."""
    names = ["m" * n for n in (64, 65, 79, 81, 256)]
    with play(endpoints=5, upstreams=list("abcde")) as script:
        script.engine.set_routes(routes(*((name, k) for k, name in enumerate(names))), default=None)
        for k, name in enumerate(names):
            assert goes_to(script, json_post(b'{"model":"%s"}' % name.encode()))[0] == k
        d = script.downstream()
        d.send(json_post(b'{"model":"%s"}' % (b"m" * 257)))
        assert d.receive().startswith(b"HTTP/1.1 404 ")
        script.records()
        for name in [*names, "m" * 257, "m" * 258]:
            d, u = waiting(script, json_post(b'{"model":"%s"}' % names[0].encode()))
            text = json.dumps({"model": name, "usage": {"prompt_tokens": 1, "total_tokens": 1}})
            u.send(ok(text.encode(), extra=JSON + b"Connection: close\r\n"))
            d.receive()
        found = [record["model"] for record in script.records()]
        assert found[:5] == names
        assert len(set(found)) == 7
        assert sorted(row["model"] for row in script.engine.snapshot()["tokens"]) == sorted(found)


@pytest.mark.parametrize(
    "request_",
    [
        get(),
        post(body=b"model=a"),
        post(body=b""),
        json_post(b'{"model":"a"}', extra=b"Content-Encoding: gzip\r\n"),
    ],
)
def test_what_names_no_model_goes_with_the_rest(script, request_):
    assert goes_to(script, request_)[0] == 2


@pytest.mark.parametrize("real", ["x", "Qwen/Qwen3-235B-A22B-Instruct-2507", "k\u00e9"])
@pytest.mark.parametrize("later", [0, 5, 25])
def test_a_model_goes_by_another_name_upstream(real, later):
    body = b'{"prompt":"p","model" : "mine","stream":true,"n":2}'
    with play(usage_request="running") as script:
        script.engine.set_routes(routes(("mine", 0, real)), default=0)
        d = script.downstream()
        request = json_post(body)
        cut = len(request) - later if later else len(request)
        d.send(request[:cut])
        d.send(request[cut:])
        u = script.upstream()
        head, sent = split_head(u.receive())
        assert length_of(head) == len(sent)
        assert json.loads(sent)["model"] == real
        assert json.loads(sent)["stream_options"]["include_usage"] is True
        # The name stays when the question for usage is taken back.
        u.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        _, sent = split_head(script.upstream().receive())
        assert json.loads(sent) == {**json.loads(body), "model": real}


def test_a_request_that_names_two_models_is_renamed_nowhere():
    with play() as script:
        script.engine.set_routes(routes(("mine", 0, "real")), default=0)
        body = b'{"model":"other","model":"mine"}'
        script.downstream().send(json_post(body))
        assert split_head(script.upstream().receive())[1] == body


def test_a_model_nobody_serves_is_answered_here():
    with play(endpoints=2, upstreams=["one", "two"]) as script:
        script.engine.set_routes(routes(("a", 0), ("b", 1)), default=None)
        d = script.downstream()
        d.send(json_post(b'{"model":"c"}'))
        head, body = split_head(d.receive())
        assert head.startswith(b"HTTP/1.1 404 Not Found\r\n")
        assert "serves the model" in json.loads(body)["error"]["message"]
        assert script.outcome() == "downstream/head/refused"
        assert not script.has_connected(0)


def test_the_list_of_models_is_ours(script):
    script.engine.set_models(b'{"object":"list","data":[]}')
    d = script.downstream()
    d.send(get() + get())
    answers = d.receive()
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert answers.count(b'{"object":"list","data":[]}') == 2
    assert [r["outcome"] for r in script.records()] == ["ok", "ok"]
    script.engine.set_models(None)
    d.send(get())
    assert script.upstream(2).receive().startswith(b"GET /v1/models ")


def test_with_one_upstream_nothing_is_looked_at():
    with play() as script:
        d = script.downstream()
        d.send(split_head(json_post(b'{"model":"zzz"}', extra=EXPECT))[0])
        assert script.upstream().receive().startswith(b"POST ")


def test_a_pipelined_request_behind_a_routed_one_is_routed_by_itself(script):
    d, u = connected(script, json_post(b'{"model":"a"}') + json_post(b'{"model":"b"}'))
    assert split_head(u.receive())[1] == b'{"model":"a"}'
    u.send(ok(b"one"))
    u = script.upstream(1)
    assert split_head(u.receive())[1] == b'{"model":"b"}'
    u.send(ok(b"two"))
    assert d.receive().endswith(b"two")
