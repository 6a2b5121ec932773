"""Comments that keep a silent event stream alive (exchange/keepalive.pyx)."""

import time

import pytest

from tests.probes import http1
from tests.support.editing import LAST, json_post
from tests.support.exchanges import streaming, waiting
from tests.support.script import EXPECT, SSE_HEAD, chunk, event, ok, play, post
from tests.support.silences import ASK, CHUNK, COMMENT, DONE, comments, got, pause, until

EARLY = [
    b"HTTP/1.1 200 OK", b"Content-Type: text/event-stream", b"Cache-Control: no-cache",
    b"X-Accel-Buffering: no", b"Transfer-Encoding: chunked",
]  # fmt: skip


@pytest.fixture
def script():
    with play() as s:
        s.engine.set_keepalive(0.02)
        yield s


@pytest.fixture
def patient():
    """The engine's head comes in time, however busy the machine is."""
    with play() as s:
        s.engine.set_keepalive(0.5)
        yield s


# ---------------------------------------------------------------- before the first token


def test_a_long_prefill_gets_a_head_and_comments_and_the_engines_head_is_dropped(script):
    d, u = waiting(script, ASK)
    head, _, rest = until(script, d).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[:5] == EARLY
    assert [line.partition(b":")[0] for line in lines[5:]] == [b"X-Request-Id", b"Date"]
    assert rest.replace(CHUNK, b"") == b""
    until(script, d)
    u.send(SSE_HEAD + chunk(event()) + DONE)
    assert got(d) == chunk(event() + b"data: [DONE]\n\n") + b"0\r\n\r\n"
    (record,) = script.records()
    assert (record["outcome"], record["status"], record["tried"]) == ("ok", 200, 1)
    assert record["bytes_out"] == len(event()) + len(b"data: [DONE]\n\n")
    assert comments(script)["comments"] >= 2
    assert comments(script)["early_heads"] == 1
    d.send(ASK)  # the conn serves on
    u.receive()
    u.send(SSE_HEAD + DONE)
    assert b"chunked" in d.receive()


def test_a_comment_is_no_first_token(script):
    d, u = waiting(script, ASK)
    until(script, d)
    first = time.monotonic()
    u.send(SSE_HEAD + chunk(event()) + DONE)
    d.receive()
    (record,) = script.records()
    assert record["ttft_ns"] >= 20_000_000
    assert record["ttft_ns"] <= record["total_ns"] <= (time.monotonic() - first + 60) * 1e9


def test_who_waits_for_a_permit_is_kept_alive_too():
    with play(max_inflight=1) as script:
        script.engine.set_keepalive(0.02)
        _, u = waiting(script, json_post(b'{"model":"m"}'))
        second = script.downstream()
        second.send(ASK)
        until(script, second)
        u.send(ok())
        u.receive()
        u.send(SSE_HEAD + DONE)
        assert got(second) == DONE


def test_a_queue_timeout_ends_the_stream_with_an_error_event():
    with play(max_inflight=1, queue_timeout=1.0) as script:
        script.engine.set_keepalive(0.02)
        first, u = waiting(script, json_post(b'{"model":"m"}'))
        second = script.downstream()
        second.send(ASK)
        found = until(script, second, b"}\n\n\r\n")
        assert b"too many requests are waiting" in found
        assert b"0\r\n\r\n" not in found
        assert second.is_closed()
        (record,) = script.records()
        assert (record["status"], record["outcome"]) == (503, "ourselves/queued/overload")
        u.send(ok())
        first.receive()


@pytest.mark.parametrize(
    "request_",
    [
        json_post(b'{"model":"m"}'),
        json_post(b'{"model":"m","stream":false}'),
        json_post(path=b"/v1/embeddings"),
        json_post(path=b"/api/chat"),
        json_post(path=b"/worker_generate_stream"),
        post(body=b"stream=true", extra=b"Content-Type: application/x-www-form-urlencoded\r\n"),
        b"GET /v1/responses/r?stream=true HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_who_asks_for_no_events_gets_none(script, request_):
    d, u = waiting(script, request_)
    pause(script)
    assert got(d) == b""
    u.send(ok(b"{}"))
    assert d.receive().startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n")
    assert comments(script) == {"comments": 0, "early_heads": 0}


@pytest.mark.parametrize(
    "path",
    [b"/v1/completions", b"/v1/messages", b"/v1/responses", b"/completion", b"/generate",
     b"/generate_stream"],
)  # fmt: skip
def test_every_dialect_of_events_is_kept_alive(script, path):
    body = b"{}" if path == b"/generate_stream" else b'{"stream":true}'
    d, u = waiting(script, json_post(body, path))
    until(script, d)
    u.send(SSE_HEAD + DONE)
    assert got(d) == DONE


def test_a_request_that_is_not_here_as_a_whole_gets_no_early_head(script):
    d = script.downstream()
    d.send(json_post(extra=EXPECT)[: -len(b"}")])
    u = script.upstream()
    pause(script)
    assert comments(script)["early_heads"] == 0
    d.receive()  # 100 Continue
    d.send(b"}")
    u.receive()
    until(script, d)
    u.send(SSE_HEAD + DONE)
    assert got(d) == DONE


def test_the_body_may_come_behind_the_head(script):
    """Else the first byte is not looked at, and nobody knows that a stream is asked for."""
    d = script.downstream()
    request = json_post(path=b"/v1/messages")
    d.send(request[:-30])
    d.send(request[-30:])
    u = script.upstream()
    u.receive()
    until(script, d)
    u.send(SSE_HEAD + DONE)
    assert got(d) == DONE


# ---------------------------------------------------------------- http/1.0


OLD = ASK.replace(b"HTTP/1.1", b"HTTP/1.0")


def test_an_http_1_0_caller_gets_plain_comments_and_a_fin(script):
    d, u = waiting(script, OLD)
    head, _, rest = until(script, d, COMMENT).partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert head.endswith(b"Connection: close")
    assert rest.replace(COMMENT, b"") == b""
    u.send(SSE_HEAD + chunk(event()) + DONE)
    assert d.receive().replace(COMMENT, b"") == event() + b"data: [DONE]\n\n"
    assert d.is_closed()
    assert script.outcome() == "ok"


def test_an_http_1_0_caller_is_reset_after_a_failure(script):
    d, u = waiting(script, OLD)
    until(script, d, COMMENT)
    u.close()
    assert d.was_reset()
    assert script.outcome() == "upstream/waiting/closed"


# ---------------------------------------------------------------- between events


def test_a_silent_stream_gets_comments_between_its_events(script):
    d, u = streaming(script, ASK)
    until(script, d)
    u.send(chunk(event()))
    assert got(d) == chunk(event())
    until(script, d)
    u.send(DONE)
    assert got(d) == DONE
    assert script.outcome() == "ok"


@pytest.mark.parametrize(
    ("sent", "rest"),
    [
        (b'data: {"choices"', b":[]}\n\n"),
        (b"event: a\n", b"data: x\n\n"),
        (b"data: x\n", b"\n"),
        (b": half", b" a comment\n"),
        (b"data: x\r\n\r", b"\n"),  # an LF may still belong to the last event
        (b"data: [DONE]\n\n", b""),  # nobody waits behind the end
    ],
)
def test_no_comment_goes_into_an_event_or_behind_the_end(script, sent, rest):
    d, u = streaming(script, ASK)
    u.send(chunk(sent))
    assert got(d) == chunk(sent)
    pause(script)
    assert got(d) == b""
    if rest:
        u.send(chunk(rest))
        assert got(d) == chunk(rest)
        until(script, d)
        u.send(DONE)
    else:
        u.send(b"0\r\n\r\n")
    assert d.receive().endswith(b"0\r\n\r\n")


def test_behind_the_head_of_the_engine_comes_a_comment_too(patient):
    d, u = waiting(patient, ASK)
    u.send(SSE_HEAD)
    assert d.receive().endswith(b"\r\n\r\n")
    until(patient, d)
    u.send(DONE)
    assert got(d) == DONE
    assert comments(patient)["early_heads"] == 0


@pytest.mark.parametrize(
    "head",
    [
        b"content-type: application/json\r\ntransfer-encoding: chunked\r\n",
        b"content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n",
        b"content-type: text/event-stream\r\ncontent-encoding: gzip\r\n"
        b"transfer-encoding: chunked\r\n",
        b"transfer-encoding: chunked\r\n",
    ],
)
def test_an_answer_that_is_no_plain_event_stream_gets_no_comment(patient, head):
    d, u = waiting(patient, ASK)
    u.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
    d.receive()
    pause(patient, 0.7)
    assert got(d) == b""
    u.send(chunk(b"{}\n") + b"0\r\n\r\n")
    assert got(d) == chunk(b"{}\n") + b"0\r\n\r\n"


def test_a_stream_with_a_length_gets_no_comment(patient):
    body = event() + b"data: [DONE]\n\n"
    d, u = waiting(patient, ASK)
    u.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n"
           % len(body) + event())  # fmt: skip
    assert d.receive().endswith(event())
    pause(patient, 0.7)
    assert got(d) == b""
    u.send(b"data: [DONE]\n\n")
    assert got(d) == b"data: [DONE]\n\n"


def test_a_late_stream_with_a_length_is_framed_by_chunks(script):
    body = event() + b"data: [DONE]\n\n"
    d, u = waiting(script, ASK)
    until(script, d)
    u.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n"
           % len(body) + body)  # fmt: skip
    assert got(d) == chunk(body) + b"0\r\n\r\n"


def test_a_bom_behind_a_comment_is_dropped(script):
    d, u = waiting(script, ASK)
    until(script, d)
    u.send(SSE_HEAD + chunk(b"\xef\xbb\xbf" + event()) + DONE)
    assert got(d) == chunk(event() + b"data: [DONE]\n\n") + b"0\r\n\r\n"
    assert script.outcome() == "ok"


def test_an_event_that_is_held_back_is_not_torn():
    """Usage that only the proxy asked for waits for the next event, and is taken out."""
    with play(usage_request="usage") as script:
        script.engine.set_keepalive(0.02)
        d, u = waiting(script, ASK)
        u.send(SSE_HEAD + chunk(event()) + chunk(b"data: " + LAST[:20]))
        d.receive()
        until(script, d)
        u.send(chunk(LAST[20:] + b"\n\n") + DONE)
        assert d.receive().endswith(DONE)
        assert script.records()[0]["completion_tokens"] == 9


def test_a_caller_that_does_not_read_gets_no_heap_of_comments(script):
    d, u = streaming(script, ASK)
    big = chunk(event(b"x" * 60000))
    while not script.counters()["block_bytes"]:
        if u.send_some(big) < len(big):
            break
    before = comments(script)["comments"]
    pause(script)
    assert comments(script)["comments"] == before
    d.reset()


# ---------------------------------------------------------------- auto, reload


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        (b"x-stainless-read-timeout: 600", 200),
        (b"X-Stainless-Read-Timeout: 30.5", 10),
        (b"x-stainless-timeout: 6", 5),
        (b"x-stainless-timeout: 99999999999999999999999", None),
        (b"x-stainless-read-timeout: None", None),
        (b"x-stainless-read-timeout: 0", None),
        (b"x-stainless-read-timeout: -5", None),
        (b"x-stainless-read-timeout: .5", None),
        (b"x-stainless-read-timeout: 1e3", None),
        (b"x-other: 600", None),
    ],
)
def test_auto_is_a_third_of_the_callers_own_timeout(fields, seconds):
    head = ASK.partition(b"\r\n\r\n")[0] + b"\r\n" + fields + b"\r\n\r\n"
    found = http1.keepalive_of(bytearray(head), (16384, 32768, 100))
    assert found // 10**9 == (seconds or 0)


def test_off_again_after_a_reload_for_the_next_head(script):
    d, u = waiting(script, ASK)
    until(script, d)
    script.engine.set_keepalive(0.0)
    until(script, d)  # a running exchange keeps its own
    u.send(SSE_HEAD + DONE)
    d.receive()
    d.send(ASK)
    u.receive()
    pause(script)
    assert got(d) == b""
    u.send(SSE_HEAD + DONE)
    assert d.receive().endswith(DONE)
