"""Exchanges that end badly: each with one outcome, everything released, nothing silent."""

import pytest

from tests.support.exchanges import answered, connected, streaming, waiting
from tests.support.script import SSE_HEAD, chunk, get, ok, play, post, split_head

ERROR = b'{"error":{"message":'


@pytest.fixture
def script():
    with play() as s:
        yield s


# ---------------------------------------------------------------- the caller's faults


def test_a_bad_head_is_answered_and_never_forwarded(script):
    d = script.downstream()
    d.send(b"GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n" + get())
    head, body = split_head(d.receive())
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Connection: close\r\n" in head
    assert body.startswith(ERROR)
    assert not script.has_connected()
    d.close()
    assert script.outcome() == "downstream/head/malformed"


def test_a_bad_chunk_in_an_upload_is_never_completed_upstream(script):
    d, u = waiting(
        script, b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    )
    d.send(b"zz\r\n")
    assert d.receive().startswith(b"HTTP/1.1 400 ")
    assert u.receive() == b""
    assert u.is_closed()
    d.close()
    assert script.outcome() == "downstream/waiting/malformed"


def test_a_body_above_the_limit_is_refused_before_it_is_sent():
    with play(limits={"body_bytes": 10}) as script:
        d = script.downstream()
        d.send(post(body=b"x" * 11))
        assert d.receive().startswith(b"HTTP/1.1 413 ")
        assert not script.has_connected()
        d.close()
        assert script.outcome() == "downstream/head/too_large"


def test_a_caller_who_leaves_while_waiting_frees_the_endpoint(script):
    d, u = waiting(script)
    d.close()
    assert u.is_closed()
    assert script.outcome() == "downstream/waiting/closed"


@pytest.mark.parametrize("how", ["close", "reset", "finish"])
def test_a_caller_who_leaves_in_mid_response_frees_the_endpoint(script, how):
    d, u = streaming(script)
    getattr(d, how)()
    assert u.is_closed()
    assert script.outcome().startswith("downstream/relaying/")


def test_a_caller_who_left_the_queue_never_reaches_the_endpoint():
    with play(max_inflight=1) as script:
        first, second, third = (script.downstream() for _ in range(3))
        first.send(get(b"/1"))
        u = script.upstream()
        assert b"/1 " in u.receive()
        second.send(get(b"/2"))
        third.send(get(b"/3"))
        second.close()
        u.send(ok())
        first.receive()
        assert b"/3 " in u.receive()
        u.send(ok())
        third.receive()
        assert [r["outcome"] for r in script.records()] == [
            "downstream/queued/closed", "ok", "ok",
        ]  # fmt: skip


def test_a_caller_who_leaves_as_the_permit_comes_never_reaches_the_endpoint():
    with play(max_inflight=1) as script:
        first, second = script.downstream(), script.downstream()
        first.send(get(b"/1"))
        u = script.upstream()
        u.receive()
        second.send(get(b"/2"))
        # Both reports wait for the same crank: the answer that frees the permit, and the FIN.
        u.put(ok())
        second.sock.close()
        script.turn()
        first.receive()
        assert b"/2 " not in u.receive()
        outcomes = sorted(r["outcome"] for r in script.records())
        assert outcomes[0].startswith("downstream/queued/")
        assert outcomes[1] == "ok"


# ---------------------------------------------------------------- the endpoint's faults


def test_a_refused_connection_is_tried_elsewhere():
    with play(endpoints=2, balance="round_robin") as script:
        script.refuse(0)
        d, u = connected(script, endpoint=1)
        for _ in range(2):
            u.send(ok())
            assert d.receive().endswith(b"ok")
            d.send(post())
        u.send(ok())


def test_when_every_endpoint_refuses_the_caller_gets_502(script):
    script.refuse()
    d = script.downstream()
    d.send(post())
    head, body = split_head(d.receive())
    assert head.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert b"refused the connection" in body
    assert script.outcome() == "upstream/connecting/refused"


def test_a_reused_conn_that_died_is_replaced_unseen(script):
    d, u = answered(script, post(body=b"first"))
    d.send(post(body=b"second"))
    assert u.receive().endswith(b"second")
    u.close()
    fresh = script.upstream()
    assert fresh.receive().endswith(b"second")
    fresh.send(ok(b"2"))
    assert d.receive().endswith(b"2")
    assert [r["tried"] for r in script.records()] == [1, 2]


def test_an_idle_conn_the_endpoint_closed_is_never_handed_out(script):
    d, u = answered(script)
    u.close()
    d.send(post(body=b"second"))
    fresh = script.upstream()
    assert fresh.receive().endswith(b"second")
    fresh.send(ok(b"2"))
    assert d.receive().endswith(b"2")
    assert script.records()[1]["tried"] == 1


def test_bytes_on_an_idle_conn_are_never_an_answer(script):
    d, u = answered(script, get())
    u.send(ok(b"poison"))
    assert u.is_closed()
    d.send(get())
    fresh = script.upstream()
    fresh.receive()
    fresh.send(ok(b"fresh"))
    assert d.receive().endswith(b"fresh")


def test_surplus_bytes_end_the_conn_and_reach_nobody(script):
    d, u = waiting(script, get())
    u.send(ok(b"ok") + b"surplus")
    assert d.receive().endswith(b"\r\n\r\nok")
    assert u.is_closed()


def test_a_fresh_conn_that_died_is_not_tried_again(script):
    d, u = waiting(script)
    u.close()
    assert d.receive().startswith(b"HTTP/1.1 502 ")
    assert not script.has_connected()
    assert script.outcome() == "upstream/waiting/closed"


def test_a_post_that_was_answered_in_part_is_not_tried_again(script):
    d, u = answered(script)
    d.send(post())
    u.receive()
    u.send(b"HTTP/1.1 20")
    u.close()
    assert d.receive().startswith(b"HTTP/1.1 502 ")
    assert not script.has_connected()


def test_junk_instead_of_a_head_is_502(script):
    d, u = connected(script, get())
    u.send(b"SSH-2.0-OpenSSH\r\n")
    assert d.receive().startswith(b"HTTP/1.1 502 ")
    assert script.outcome() == "upstream/waiting/malformed"


def test_a_101_nobody_asked_for_is_502(script):
    d, u = connected(script, get())
    u.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw")
    answer = d.receive()
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"raw" not in answer


def test_a_cut_response_has_no_last_chunk(script):
    d, u = waiting(script, get())
    u.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
    d.receive()
    u.close()
    assert d.receive() == b""
    assert d.is_closed()
    assert script.outcome() == "upstream/relaying/closed"


def test_a_cut_length_is_not_padded(script):
    d, u = waiting(script, get())
    u.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhel")
    assert d.receive().endswith(b"\r\n\r\nhel")
    u.close()
    assert d.receive() == b""
    assert d.is_closed()


def test_http_1_0_sees_a_cut_as_a_reset(script):
    d, u = waiting(script, b"GET /x HTTP/1.0\r\n\r\n")
    u.send(SSE_HEAD + b"5\r\nhel")
    d.receive()
    u.close()
    assert d.was_reset()


@pytest.mark.parametrize(
    ("path", "start"),
    [
        (b"/v1/chat/completions", b'data: {"error":{"message":'),
        (b"/v1/messages", b'event: error\ndata: {"type":"error","error":{"type":"api_error"'),
        (b"/generate_stream", b'data: {"error":"'),
    ],
)
def test_a_cut_at_an_event_edge_says_so_in_the_dialect(script, path, start):
    d, u = streaming(script, post(path))
    u.close()
    last = d.receive()
    size, _, rest = last.partition(b"\r\n")
    assert rest.startswith(start)
    assert len(rest) == int(size, 16) + 2
    assert rest.endswith(b"\n\n\r\n"), "one whole chunk, and no last chunk"
    assert d.is_closed()


def test_a_cut_inside_an_event_adds_nothing(script):
    d, u = waiting(script)
    u.send(SSE_HEAD + chunk(b'data: {"half'))
    d.receive()
    u.close()
    assert d.receive() == b""
    assert d.is_closed()


def test_a_500_passes_and_counts_as_a_failure_of_the_endpoint(script):
    d, u = connected(script, get())
    u.send(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 3\r\n\r\nbad")
    assert d.receive().endswith(b"\r\n\r\nbad")
    (endpoint,) = script.engine.snapshot()["upstreams"][0]["endpoints"]
    assert endpoint["failures"] == 1


@pytest.mark.parametrize(("status", "left"), [(b"503 Busy", 1), (b"429 Slow", 1)])
def test_retry_on_busy_goes_to_another_endpoint(status, left):
    with play(endpoints=2, balance="round_robin", retry_on_busy=True) as script:
        d, u = waiting(script, post(body=b"hello"))
        u.send(b"HTTP/1.1 %s\r\nContent-Length: 4\r\n\r\nbusy" % status)
        other = script.upstream(1)
        assert other.receive().endswith(b"hello")
        other.send(ok())
        assert d.receive().endswith(b"ok")


def test_without_retry_on_busy_a_503_passes(script):
    d, u = connected(script)
    u.send(b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbusy")
    answer = d.receive()
    assert answer.startswith(b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n")
    assert answer.endswith(b"busy")


def test_no_endpoint_in_rotation_is_503_with_retry_after(script):
    script.engine.set_endpoint(0, up=False)
    d = script.downstream()
    d.send(get())
    answer = d.receive()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: " in answer
    assert script.outcome() == "upstream/connecting/no_endpoint"
    script.engine.set_endpoint(0, up=True)
    d.send(get())
    u = script.upstream()
    u.send(ok())
    assert d.receive().endswith(b"ok")


def test_an_early_refusal_of_an_upload_reaches_the_caller(script):
    d, u = waiting(
        script, b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000
    )
    u.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
    u.close()
    d.send_some(b"x" * 400_000)
    answer = d.receive()
    assert answer.startswith(b"HTTP/1.1 413 Too Large\r\n")
    assert b"Connection: close\r\n" in answer
    assert answer.endswith(b"big")
    d.close()
