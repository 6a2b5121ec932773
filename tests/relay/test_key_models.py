"""Keys that allow some models only: what is surely one of them passes, and nothing else."""

import pytest

from tests.relay.test_keys import JSON, json_answer, passes, refused_key
from tests.support.editing import json_post, unchunk
from tests.support.exchanges import connected
from tests.support.keys import row, shows
from tests.support.script import chunk, get, play, post, split_head
from tests.support.settings import routes


@pytest.fixture
def bound():
    with play() as s:
        s.engine.set_keys([row("k", models=("small", "tiny"))])
        yield s


@pytest.mark.parametrize("model", [b"small", b"tiny"])
def test_a_model_on_the_list_is_served(bound, model):
    body = b'{"messages":[],"model":"%s"}' % model
    assert split_head(passes(bound, json_post(body, extra=shows("k"))))[1] == body


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"large"}',
        b'{"model":"smal"}',
        b'{"model":"small2"}',
        b'{"model":"small","model":"large"}',
        b'{"model":"large","model":"small"}',
        b'{"model":"small","mod\\u0065l":"large"}',
        b'{"model":"small","Model":"large"}',
        b'{"Model":"small"}',
        b'/*{"model":"small"}*/{"model":"large"}',
        b'{"model":"small"/*"*/,"model":"large"/*"*/}',
        b'{"model":"small",//"\n"model":"large"//"\n}',
        b'\xef\xbb\xbf{"model":"small"}',
        b'{"x":{"model":"small"}}',
        b"{}",
        b"[]",
        '{"model":"small"}'.encode("utf-16"),
        '{"model":"small"}'.encode("utf-16-le"),
        b'{"\0":"","model":"small"}',
    ],
)
def test_what_is_not_surely_allowed_is_refused(bound, body):
    _, answer = refused_key(bound, json_post(body, extra=shows("k")), 403)
    assert answer["error"]["code"] == "model_not_allowed"


@pytest.mark.parametrize(
    "request_",
    [
        post(body=b"model=small", extra=shows("k")),
        json_post(b'{"model":"small"}', extra=shows("k") + b"Content-Encoding: gzip\r\n"),
        get(b"/v1/realtime", extra=shows("k") + b"Connection: upgrade\r\nUpgrade: websocket\r\n"),
    ],
)
def test_a_request_whose_model_cannot_be_read_is_refused(bound, request_):
    _, answer = refused_key(bound, request_, 403)
    assert "does not name one of them plainly" in answer["error"]["message"]


@pytest.mark.parametrize(
    "request_",
    [
        json_post(b'{"model":"sm\\u0061ll"}', extra=shows("k")),
        json_post(b'{"p":"%s","model":"small"}' % (b"x" * 40_000), extra=shows("k")),
        post(body=b'{"model":"small"}', extra=shows("k")),
        post(body=b"", extra=shows("k")),
    ],
)
def test_what_names_an_allowed_model_in_another_way_passes(bound, request_):
    """No body names no model: it passes with Content-Length: 0 as it does without the field."""
    assert split_head(passes(bound, request_))[1] == split_head(request_)[1]


def test_a_model_that_comes_too_late_is_refused_with_the_reason(bound):
    body = b'{"p":"%s","model":"small"}' % (b"x" * 70_000)
    _, answer = refused_key(bound, json_post(body, extra=shows("k")), 400)
    assert "first 64 KiB" in answer["error"]["message"]


@pytest.mark.parametrize("n", [64, 65, 200, 256])
def test_a_longer_name_is_another_one(n):
    with play() as script:
        script.engine.set_keys([row("k", models=("x" * n,))])
        passes(script, json_post(b'{"model":"%s"}' % (b"x" * n), extra=shows("k")))
        for other in (n - 1, n + 1, n + 100, 300):
            refused_key(
                script, json_post(b'{"model":"%s"}' % (b"x" * other), extra=shows("k")), 403
            )


@pytest.mark.parametrize("kind", [b"", b"Content-Type: application/json\r\n"])
def test_an_empty_chunked_body_names_no_model_either(bound, kind):
    """A4, its neighbour: Content-Length: 0 passed, and a chunked nothing got 403."""
    d = bound.downstream()
    d.send(b"POST /reset HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + kind + shows("k")
           + b"\r\n0\r\n\r\n")  # fmt: skip
    assert bound.upstream().receive().endswith(b"0\r\n\r\n")


def test_a_request_without_a_body_passes(bound):
    passes(bound, get(b"/v1/models", extra=shows("k")))


@pytest.mark.parametrize("second", [b'"model":"large"', b'"mod\\u0065l":"large"'])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_second_model_further_on_never_reaches_the_server_whole(bound, second, chunked):
    begin = b'{"model":"small","prompt":"%s",' % (b"p" * 70_000)
    whole = begin + second + b"}"
    if chunked:
        head = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        pieces = [head + JSON + shows("k") + b"\r\n" + chunk(begin), chunk(second + b"}")]
        pieces[1] += b"0\r\n\r\n"
    else:
        request = json_post(whole, extra=shows("k"))
        pieces = [request[: -len(second) - 1], request[-len(second) - 1 :]]
    d, u = connected(bound, pieces[0])
    got = u.receive()
    d.send(pieces[1])
    got += u.receive()
    assert b"large" not in got
    assert u.is_closed()
    assert json_answer(d)[0] == 403
    if chunked:
        assert not unchunk(split_head(got)[1]).endswith(b"}")


@pytest.mark.parametrize("real", ["small", "real"])
def test_a_second_model_behind_one_that_was_renamed_is_refused_too(real):
    with play() as script:
        script.engine.set_routes(routes(("small", 0, real)), default=0)
        script.engine.set_keys([row("k", models=("small",))])
        body = b'{"model":"small","prompt":"%s","model":"large"}' % (b"p" * 70_000)
        d = script.downstream()
        d.send(json_post(body, extra=shows("k"))[:-20])
        u = script.upstream()
        u.receive()
        d.send(json_post(body, extra=shows("k"))[-20:])
        u.receive()
        assert u.is_closed()
        assert json_answer(d)[0] == 403


def test_a_key_that_is_bound_while_its_request_waits_has_all_of_it_read_again():
    """A scan that began without comments does not look for them in the bytes it has read."""
    request = json_post(b'{/*"*/"prompt":"p"/*"*/,"model":"small"}', extra=shows("k"))
    with play(endpoints=2, upstreams=["one", "two"]) as script:
        script.engine.set_routes(routes(("small", 0), ("b", 1)), default=None)
        script.engine.set_keys([row("k")])
        d = script.downstream()
        d.send(request[:-10])
        script.engine.set_keys([row("k", models=("small",))])
        d.send(request[-10:])
        assert json_answer(d)[0] == 403
        assert not script.has_connected(0)


def test_a_model_of_another_upstream_is_refused_before_it_is_looked_for():
    with play(endpoints=2, upstreams=["one", "two"]) as script:
        script.engine.set_routes(routes(("a", 0), ("b", 1)), default=None)
        script.engine.set_keys([row("k", models=("a",))])
        refused_key(script, json_post(b'{"model":"b"}', extra=shows("k")), 403)
        passes(script, json_post(b'{"model":"a"}', extra=shows("k")))


def test_the_model_is_found_in_any_split(bound):
    request = json_post(b'{"prompt":"hello","model":"tiny"}', extra=shows("k"))
    d = bound.downstream()
    d.send_bytewise(request)
    assert split_head(bound.upstream().receive())[1] == split_head(request)[1]
    assert bound.engine.snapshot()["auth"]["unknown"] == 0
