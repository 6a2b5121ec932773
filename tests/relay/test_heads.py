"""Heads whose meaning is settled here: lengths, singletons, OPTIONS, queries, forwarding."""

import pytest

from tests.support.exchanges import connected
from tests.support.script import get, ok, play, post, split_head

MOST = 2**63 - 1


@pytest.fixture
def script():
    with play() as s:
        yield s


def forwarded(script, request: bytes) -> bytes:
    """The request as it went upstream."""
    d, u = connected(script, request)
    found = u.receive()
    u.send(ok())
    assert d.receive().startswith(b"HTTP/1.1 200 ")
    return found


def refused_head(script, request: bytes, status: int) -> bytes:
    d = script.downstream()
    d.send(request)
    found = d.receive()
    assert found.startswith(b"HTTP/1.1 %d " % status)
    assert not script.has_connected()
    return found


# ---------------------------------------------------------------- lengths


@pytest.mark.parametrize("length", [MOST, MOST - 1, 2**62 + 1])
@pytest.mark.parametrize("usage_request", ["nothing", "running"])
def test_a_length_that_edits_would_overflow_is_too_much_even_without_a_limit(length, usage_request):
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    with play(limits={"body_bytes": 0}, usage_request=usage_request) as script:
        refused_head(script, head + b"Content-Length: %d\r\n\r\n{" % length, 413)


def test_without_a_limit_a_terabyte_may_come():
    with play(limits={"body_bytes": 0}) as script:
        d = script.downstream()
        d.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n{" % 2**40)
        assert b"Content-Length: %d\r\n" % 2**40 in script.upstream().receive()


# ---------------------------------------------------------------- singletons


@pytest.mark.parametrize("second", [b"application/json", b"text/plain", b""])
def test_a_body_of_two_types_is_refused(script, second):
    """RFC 9110 8.3: one recipient takes the first, another the last."""
    types = b"Content-Type: application/json\r\nX: y\r\nContent-Type: " + second + b"\r\n"
    found = refused_head(script, post(extra=types), 400)
    assert b"occur only once" in found


def test_two_types_of_no_body_mean_nothing(script):
    types = b"Content-Type: a/b\r\nContent-Type: c/d\r\n"
    assert types in forwarded(script, get(extra=types))


def test_codings_may_stand_on_several_lines(script):
    codings = b"Content-Encoding: gzip\r\nContent-Encoding: br\r\n"
    assert codings in forwarded(script, post(extra=codings))


# ---------------------------------------------------------------- OPTIONS


@pytest.mark.parametrize("path", [b"*", b"/v1/models"])
def test_options_that_may_go_no_further_are_answered_here(script, path):
    d = script.downstream()
    for _ in range(2):
        d.send(b"OPTIONS " + path + b" HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")
        head, body = split_head(d.receive())
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nAllow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\n" in head
        assert b"\r\nContent-Length: 0\r\n" in head
        assert body == b""
    assert not script.has_connected()
    assert [(r["outcome"], r["status"]) for r in script.records()] == [("ok", 200)] * 2


def test_options_with_a_body_that_may_go_no_further_end_the_conn(script):
    d = script.downstream()
    d.send(b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nContent-Length: 9\r\n\r\nGET ")
    assert b"Connection: close\r\n" in d.receive()
    assert d.is_closed()


def test_options_with_forwards_left_go_on(script):
    request = b"OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1\r\n\r\n"
    assert b"Max-Forwards: 0\r\n" in forwarded(script, request)


def test_trace_is_refused_however_far_it_may_go(script):
    refused_head(script, b"TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", 405)


# ---------------------------------------------------------------- queries

RAW = [
    b"a[]=1&b[0]=x",
    b'filter={"a":[1,2]}',
    b"a|b^c`d\\e<f>g",
    b"q=caf\xc3\xa9",
    b"q=\xff\xfe",
    b"q=100%",
    b"q=50%off&r=%zz",
    b"/a?b",
]


@pytest.mark.parametrize("query", RAW)
def test_what_browsers_and_curl_send_in_a_query_goes_on_as_it_is(script, query):
    found = forwarded(script, get(b"/v1/models?" + query))
    assert found.startswith(b"GET /v1/models?" + query + b" HTTP/1.1\r\n")
    assert script.records()[0]["path"] == "/v1/models"


@pytest.mark.parametrize("query", RAW)
def test_such_a_query_may_follow_any_form_of_target(script, query):
    found = forwarded(script, b"GET http://b.test?" + query + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert found.startswith(b"GET /?" + query + b" HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "byte", [b" ", b"\t", b"#", b"\0", b"\r", b"\n", b"\x7f", b"\x1b", b"\x01"]
)
def test_no_query_holds_a_control_a_blank_or_a_fragment(script, byte):
    refused_head(script, get(b"/v1/models?a=" + byte + b"b"), 400)


@pytest.mark.parametrize("byte", [b"[", b"|", b"{", b'"', b"\\", b"\xc3", b"%", b"%4", b"^"])
def test_a_path_is_held_to_the_rfc_all_the_same(script, byte):
    refused_head(script, get(b"/v1/" + byte + b"?a=1"), 400)


# ---------------------------------------------------------------- forwarding

FROM_A_PROXY = b"X-Forwarded-Port: 1\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\n"
ALIASES = b"Content_Length: 7\r\nX_Forwarded_For: 1.2.3.4\r\nTransfer_Encoding: chunked\r\n"


def test_what_a_caller_says_of_where_it_comes_from_is_not_passed_on(script):
    found = forwarded(script, post(extra=FROM_A_PROXY + ALIASES))
    assert b"1.2.3.4" not in found
    assert b"_" not in split_head(found)[0]
    assert b"X-Forwarded-Port" not in found


def test_what_a_proxy_says_is_passed_on_where_it_is_trusted(script):
    script.engine.set_switches(via=True, trust_forwarded=True, serve_half_close=False)
    found = forwarded(script, post(extra=FROM_A_PROXY + ALIASES))
    for line in (b"X-Forwarded-Port: 1", b"Forwarded: for=1.2.3.4, for=", b"X-Real-IP: 1.2.3.4"):
        assert b"\r\n" + line in found
    assert b"_" not in split_head(found)[0]


def test_an_https_target_on_a_plain_port_is_served_as_what_it_came_by():
    """docs/decisions/014: the scheme decides nothing, and no server is told of a TLS."""
    with play() as script:
        d = script.downstream()
        d.send(b"GET https://a.example:444/p?q HTTP/1.1\r\nHost: a.example:444\r\n\r\n")
        got = script.upstream().receive()
        assert got.startswith(b"GET /p?q HTTP/1.1\r\n")
        assert b"Host: a.example:444\r\n" in got
        assert b"X-Forwarded-Proto: http\r\n" in got
        d = script.downstream()
        d.send(b"GET ftp://a.example/p HTTP/1.1\r\nHost: a.example\r\n\r\n")
        assert d.receive().startswith(b"HTTP/1.1 400 ")
