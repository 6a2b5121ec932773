"""Where else a request names its model: bodies that are called something else, forms, queries."""

import json

import pytest

from tests.support.editing import JSON, form, length_of, parts, unchunk
from tests.support.exchanges import connected
from tests.support.script import chunk, ok, play, post, split_head
from tests.support.settings import routes

TYPES = [
    b"",
    b"Content-Type: text/json\r\n",
    b"Content-Type: application/problem+json\r\n",
    b"Content-Type: application/x-www-form-urlencoded\r\n",
    b"Content-Type: application/octet-stream\r\n",
    JSON + b"Content-Encoding: identity\r\n",
]
UPGRADE = (
    b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
FORM = b"Content-Type: multipart/form-data; boundary=xYz\r\n"


@pytest.fixture
def script():
    """a goes to 0, b to 1, what names none to 2."""
    with play(endpoints=3, upstreams=["chat", "speech", "rest"]) as s:
        s.engine.set_routes(routes(("a", 0), ("b", 1), ("c d", 1, 'x "y')), default=2)
        yield s


def where(script):
    (k,) = [k for k in range(3) if script.has_connected(k)]
    return k


@pytest.mark.parametrize("extra", TYPES)
@pytest.mark.parametrize("at", [0, -1, 1, 3, 10])
def test_json_is_json_whatever_it_is_called(script, extra, at):
    body = b' \n{"model":"b"}'
    request = post(body=body, extra=extra)
    cut = len(request) - len(body) + at
    d = script.downstream()
    d.send(request[:cut])
    d.send(request[cut:])
    assert where(script) == 1
    assert split_head(script.upstream(1).receive())[1] == body


@pytest.mark.parametrize("body", [b"{" + b" " * 300, b"RIFF....", b"model=b", b"\0\1\2"])
def test_what_begins_otherwise_is_not(script, body):
    for extra in (b"", b"Content-Type: application/octet-stream\r\n"):
        d = script.downstream()
        d.send(post(body=body, extra=extra))
        assert where(script) == 2
        assert split_head(script.upstream(2).receive())[1] == body


@pytest.mark.parametrize("cut", range(0, 420, 7))
def test_a_form_says_it_in_any_split(script, cut):
    request = form(b"b", sound=b"RIFF\r\n--xYzz\r\n--xY\r\n\r\n")
    d = script.downstream()
    d.send(request[:cut])
    d.send(request[cut:])
    assert where(script) == 1
    assert split_head(script.upstream(1).receive())[1] == split_head(request)[1]


@pytest.mark.parametrize(
    "body",
    [
        parts((b"file", b"x", b'; filename="a; name=model"')),
        parts((b"models", b"b", b"")),
        parts((b"model", b"b", b""))[:-30],
        b"--xYz--\r\n",
        b"nothing of it",
    ],
)
def test_a_form_without_a_model_goes_to_who_takes_it_or_nowhere(script, body):
    d = script.downstream()
    d.send(post(b"/v1/files", body, FORM))
    assert where(script) == 2
    script.engine.set_routes(routes(("a", 0), ("b", 1)), default=None)
    d = script.downstream()
    d.send(post(b"/v1/files", body, FORM))
    head, text = split_head(d.receive())
    assert head.startswith(b"HTTP/1.1 400 ")
    assert "names no model" in json.loads(text)["error"]["message"]


def test_a_form_whose_model_comes_behind_the_sound_is_refused_with_the_reason(script):
    d = script.downstream()
    d.send_some(form(b"b", sound=b"s" * 200_000))
    head, text = split_head(d.receive())
    assert head.startswith(b"HTTP/1.1 400 ")
    assert "first 64 KiB" in json.loads(text)["error"]["message"]
    assert not any(script.has_connected(k) for k in range(3))


@pytest.mark.parametrize("spelled", [b"xYz", b'"xYz"', b"xYz; charset=utf-8"])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("later", [0, 1, 40, 90])
def test_a_form_goes_by_the_name_its_server_knows(script, spelled, chunked, later):
    body = split_head(form(b"c d", sound=b"s" * 3000))[1]
    extra = b"Content-Type: multipart/form-data; boundary=%s\r\n" % spelled
    request = post(b"/v1/audio/transcriptions", body, extra)
    if chunked:
        head = (
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        )
        request = head + extra + b"\r\n" + chunk(body) + b"0\r\n\r\n"
    d = script.downstream()
    d.send(request[: len(request) - later])
    d.send(request[len(request) - later :])
    head, sent = split_head(script.upstream(1).receive())
    expected = body.replace(b"\r\nc d\r\n", b'\r\nx "y\r\n')
    assert (unchunk(sent) if chunked else sent) == expected
    if not chunked:
        assert length_of(head) == len(sent)


@pytest.mark.parametrize(
    ("target", "index"),
    [
        (b"/v1/realtime?model=b", 1),
        (b"/v1/realtime?intent=transcription&model=c%20d", 1),
        (b"/v1/realtime?model=c+d&x", 1),
        (b"/v1/realtime?model=%61", 0),
        (b"/v1/realtime?model=", 2),
        (b"/v1/realtime?models=b&MODEL=b", 2),
        (b"/v1/realtime", 2),
    ],
)
def test_a_query_says_it_for_what_has_no_body(script, target, index):
    for request in (UPGRADE % target, b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % target):
        d = script.downstream()
        d.send(request)
        assert where(script) == index
        script.upstream(index)


def test_a_model_in_a_query_that_nobody_serves_is_answered_here(script):
    script.engine.set_routes(routes(("a", 0)), default=None)
    d = script.downstream()
    d.send(UPGRADE % b"/v1/realtime?model=zzz")
    assert d.receive().startswith(b"HTTP/1.1 404 ")


def test_a_body_that_stops_before_its_model_is_measured_as_bodies_are():
    """The head was there in time: what is late is the body."""
    with play(upstreams=["one"], limits={"header_timeout": 0.1, "body_timeout": 0.4}) as script:
        script.engine.set_routes(routes(("a", 0)), default=None)
        d = script.downstream()
        d.send(post(body=b'{"x":1,"model":"a"}', extra=JSON)[:-9])
        script.wait()
        assert d.receive().startswith(b"HTTP/1.1 408 ")
        d.close()
        (record,) = script.records()
        assert record["outcome"] == "downstream/head/timeout"
        assert record["total_ns"] > 0.4e9


def test_cookies_stay_here_unless_the_upstream_is_to_have_them():
    request = post(extra=b"Cookie: session=1\r\nX-Stays: 1\r\ncookie: b=2\r\n")
    for passes in (False, True):
        with play(cookies=passes) as script:
            d, u = connected(script, request)
            got = u.receive()
            assert (b"session=1" in got, b"b=2" in got) == (passes, passes)
            assert b"X-Stays: 1" in got
            u.send(ok(b"fine"))
            assert d.receive().endswith(b"fine")
