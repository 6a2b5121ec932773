"""The usual life of exchanges: heads, bodies, keep-alive, pipelining, framing both ways."""

import pytest

from tests.support.exchanges import connected, waiting
from tests.support.script import SSE_HEAD, chunk, event, get, ok, play, post, split_head, upload


@pytest.fixture
def script():
    with play() as s:
        yield s


def test_a_request_is_forwarded_with_its_own_head(script):
    d, u = connected(
        script, post(body=b'{"a":1}', extra=b"X-Keep: me\r\nConnection: X-Hop\r\nX-Hop: 1\r\n")
    )
    head, body = split_head(u.receive())
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a.test\r\n")
    assert b"X-Keep: me\r\n" in head
    assert b"x-hop" not in head.lower()
    assert b"X-Forwarded-For: 127.0.0.1\r\n" in head
    assert body == b'{"a":1}'
    u.send(ok(b"fine"))
    head, body = split_head(d.receive())
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == b"fine"
    assert script.outcome() == "ok"


def test_the_first_event_is_forwarded_before_the_second_exists(script):
    d, u = waiting(script)
    u.send(SSE_HEAD + chunk(event(b"1")))
    head, body = split_head(d.receive())
    assert b"Transfer-Encoding: chunked\r\n" in head
    assert body == chunk(event(b"1"))
    u.send(chunk(event(b"2")))
    assert d.receive() == chunk(event(b"2"))
    u.send(b"0\r\n\r\n")
    assert d.receive() == b"0\r\n\r\n"
    assert script.outcome() == "ok"


def test_a_head_without_a_body_yet_goes_out_at_once(script):
    d, u = connected(script)
    u.send(SSE_HEAD)
    assert d.receive().endswith(b"\r\n\r\n")
    u.send(chunk(event()) + b"0\r\n\r\n")
    assert d.receive() == chunk(event()) + b"0\r\n\r\n"


def test_a_conn_is_used_again(script):
    d, u = connected(script, get())
    u.send(ok())
    d.receive()
    d.send(get(b"/second"))
    assert not script.has_connected()
    assert u.receive().endswith(b"\r\n\r\n")
    u.send(ok(b"again"))
    assert d.receive().endswith(b"\r\n\r\nagain")
    assert [r["outcome"] for r in script.records()] == ["ok", "ok"]


def test_pipelined_requests_are_answered_in_order(script):
    d, u = connected(script, get(b"/1") + get(b"/2") + get(b"/3"))
    for k in (1, 2, 3):
        assert u.receive().count(b"GET /%d " % k) == 1
        u.send(ok(b"answer %d" % k))
    assert d.receive().count(b"HTTP/1.1 200 OK") == 3


def test_a_head_may_arrive_byte_by_byte(script):
    d = script.downstream()
    d.send_bytewise(post(body=b"hello"))
    u = script.upstream()
    assert u.receive().endswith(b"\r\n\r\nhello")
    u.send_bytewise(ok(b"bye"))
    assert d.receive().endswith(b"\r\n\r\nbye")


@pytest.mark.parametrize("size", [0, 1, 100, 70_000, 1_000_000])
def test_an_upload_with_a_length_arrives_whole(script, size):
    body = bytes(k * 7 % 251 for k in range(size))
    d = script.downstream()
    u, found = upload(d, post(body=body))
    assert split_head(found)[1] == body
    u.send(ok())
    assert d.receive().endswith(b"ok")


@pytest.mark.parametrize("size", [100, 60_000, 64_000, 200_000])
def test_a_body_that_comes_with_its_head_is_whole_on_a_closing_conn(script, size):
    body = bytes(k * 11 % 251 for k in range(size))
    d = script.downstream()
    u, found = upload(d, post(body=body, extra=b"Connection: close\r\n"))
    assert split_head(found)[1] == body
    u.send(ok())
    assert d.receive().endswith(b"ok")
    assert d.is_closed()


def test_a_chunked_upload_is_framed_again(script):
    d = script.downstream()
    d.send(b"POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
    d.send(b"5;ext=1\r\nhello\r\n")
    u = script.upstream()
    head, body = split_head(u.receive())
    assert b"Transfer-Encoding: chunked\r\n" in head
    assert body == b"5\r\nhello\r\n"
    d.send_bytewise(b"3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n" + get(b"/next"))
    assert b"".join(u.receive().split(b"\r\n")[1::2]).startswith(b"abc")
    u.send(ok())
    d.receive()
    assert b"GET /next HTTP/1.1\r\n" in u.receive()
    u.send(ok(b"2"))
    assert d.receive().endswith(b"2")


def test_the_last_bytes_of_a_chunked_upload_never_overwrite_the_next_request(script):
    d = script.downstream()
    d.send(
        b"POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r"
    )
    d.send(b"\n" + get(b"/next"))
    u = script.upstream()
    assert u.receive().endswith(b"\r\n\r\n1\r\na\r\n0\r\n\r\n")
    u.send(ok())
    d.receive()
    assert u.receive().startswith(b"GET /next HTTP/1.1\r\nHost: a.test\r\n")
    u.send(ok())
    d.receive()


def test_100_continue_is_said_when_the_body_can_flow(script):
    d, u = connected(
        script, b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    )
    assert d.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b"expect" not in u.receive().lower()
    d.send(b"hi")
    assert u.receive() == b"hi"
    u.send(ok())
    assert d.receive().startswith(b"HTTP/1.1 200 OK\r\n")


def test_100_continue_is_not_said_when_the_body_is_here_already(script):
    d, u = connected(script, post(body=b"hi", extra=b"Expect: 100-continue\r\n"))
    u.send(ok())
    assert d.receive().startswith(b"HTTP/1.1 200 OK\r\n")


def test_http_1_0_gets_bytes_without_chunks_and_a_close(script):
    d, u = connected(script, b"POST /x HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
    u.send(SSE_HEAD + chunk(event(b"1")))
    u.send(chunk(event(b"2")) + b"0\r\n\r\n")
    head, body = split_head(d.receive())
    assert b"transfer-encoding" not in head.lower()
    assert b"Connection: close\r\n" in head
    assert body == event(b"1") + event(b"2")
    assert d.is_closed()


def test_http_1_0_with_keep_alive_stays_when_the_length_is_known(script):
    d, u = connected(script, b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    u.send(ok())
    assert b"Connection: keep-alive\r\n" in d.receive()
    d.send(get())
    u.send(ok(b"2"))
    assert d.receive().endswith(b"2")


def test_a_body_that_ends_with_the_conn_is_chunked_for_http_1_1(script):
    d, u = waiting(script, get())
    u.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
    assert d.receive().endswith(b"\r\n\r\n3\r\nabc\r\n")
    u.close()
    assert d.receive() == b"0\r\n\r\n"
    assert script.outcome() == "ok"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_bodiless_answers_have_no_body(script, status):
    d, u = connected(script, get())
    u.send(b"HTTP/1.1 %s\r\nETag: x\r\n\r\n" % status)
    assert d.receive().endswith(b"\r\n\r\n")
    d.send(get())
    u.send(ok(b"next"))
    assert d.receive().endswith(b"next")


def test_head_keeps_the_length_and_has_no_body(script):
    d, u = connected(script, b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n")
    u.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    assert b"Content-Length: 1000\r\n" in d.receive()
    d.send(get())
    u.send(ok(b"next"))
    assert d.receive().endswith(b"next")


def test_interim_answers_go_to_http_1_1_only(script):
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    d, u = connected(script, get())
    u.send(hint)
    assert d.receive().startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n")
    u.send(ok())
    d.receive()
    old = script.downstream()
    old.send(b"GET /x HTTP/1.0\r\n\r\n")
    u.send(hint + ok())
    assert old.receive().startswith(b"HTTP/1.1 200 OK\r\n")


def test_trailers_are_read_and_dropped(script):
    d, u = connected(script, get())
    u.send(SSE_HEAD + chunk(b"x") + b"0\r\nX-Checksum: 1\r\n\r\n")
    assert d.receive().endswith(chunk(b"x") + b"0\r\n\r\n")
    d.send(get())
    u.send(ok(b"next"))
    assert d.receive().endswith(b"next")


def test_of_a_large_answer_that_nobody_reads_little_waits_in_the_kernel(script):
    """Loopback lets a socket hold megabytes; a thousand such callers would starve all TCP."""
    d = script.downstream()
    d.send(get())
    u, answer, sent = script.upstream(), ok(b"x" * 8_000_000), 0
    for _ in range(100):
        sent += u.send_some(answer[sent:])
    assert 100_000 < sent < 1_000_000


def test_a_large_answer_flows_through_a_small_window(script):
    body = bytes(k * 31 % 251 for k in range(3_000_000))
    d, u = connected(script, get())
    answer = ok(body)
    sent = u.send_some(answer)
    assert sent < len(answer), "backpressure must reach the endpoint"
    assert script.counters()["block_bytes"] <= 2 * 67584
    found = d.receive()
    while sent < len(answer):
        sent += u.send_some(answer[sent:])
        found += d.receive()
    found += d.receive()
    assert split_head(found)[1] == body
    assert script.counters()["block_bytes"] == 0
