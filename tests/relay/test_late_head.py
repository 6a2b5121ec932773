"""Failures, other attempts and the engine's own head behind one that was sent before it
(response/late_head.pyx)."""

import json

import pytest

from tests.support.editing import json_post
from tests.support.exchanges import streaming, waiting
from tests.support.script import SSE_HEAD, play
from tests.support.silences import ASK, CHUNK, DONE, got, until

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def script():
    with play() as s:
        s.engine.set_keepalive(0.02)
        yield s


# ---------------------------------------------------------------- failures after the early head


FAILURES = {
    "closed": (lambda u: u.close(), 502, "upstream/waiting/closed", "closed the connection"),
    "bad": (lambda u: u.send(b"hello\r\n\r\n"), 502, "upstream/waiting/malformed", "invalid HTTP"),
    "400": (
        lambda u: u.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}"),
        400, "upstream/waiting/refused", "refused the request",
    ),
    "500": (
        lambda u: u.send(b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\n{}"),
        500, "upstream/waiting/refused", "refused the request",
    ),
    "json": (
        lambda u: u.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                         b"Content-Length: 2\r\n\r\n{}"),
        200, "upstream/waiting/malformed", "sent no event stream",
    ),
    "gzip": (
        lambda u: u.send(SSE_HEAD[:-2] + b"content-encoding: gzip\r\n\r\n"),
        200, "upstream/waiting/malformed", "sent no event stream",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/messages", b"/v1/responses"])
def test_a_failure_is_an_error_event_of_the_dialect_and_looks_cut(script, how, path):
    fail, status, outcome, text = FAILURES[how]
    d, u = waiting(script, json_post(path=path))
    until(script, d)
    fail(u)
    size, _, rest = got(d).partition(b"\r\n")
    assert len(rest) == int(size, 16) + 2  # one chunk, and not the last
    name, _, data = rest.strip().rpartition(b"data: ")
    assert name == (b"" if path == b"/v1/chat/completions" else b"event: error\n")
    found = json.loads(data)
    assert text in json.dumps(found)
    if path == b"/v1/chat/completions":
        assert found["error"]["code"] == (status if status >= 400 else 502)
    assert d.is_closed()
    (record,) = script.records()
    assert (record["status"], record["outcome"]) == (status, outcome)
    assert record["exactness"] == ("uncounted" if status == 200 else "none")


def test_a_first_byte_timeout_comes_in_spite_of_comments():
    with play(first_byte=1.0) as script:
        script.engine.set_keepalive(0.02)
        d, _ = waiting(script, ASK)
        found = until(script, d, b"}\n\n\r\n")
        assert found.count(CHUNK) > 1
        assert b"did not answer in time" in found
        assert script.outcome() == "upstream/waiting/timeout"


def test_a_stream_that_idles_too_long_is_cut_in_spite_of_comments():
    with play(stream_idle=1.0) as script:
        script.engine.set_keepalive(0.02)
        d, _ = streaming(script, ASK)
        found = until(script, d, b"}\n\n\r\n")
        assert found.count(CHUNK) > 1
        assert script.outcome() == "upstream/relaying/timeout"


def test_a_request_is_tried_elsewhere_after_the_early_head():
    with play(endpoints=2, attempts=2, on_busy=True, balance="round_robin") as script:
        script.engine.set_keepalive(0.02)
        d = script.downstream()
        d.send(ASK)
        first = next(k for k in range(2) if script.has_connected(k))
        u = script.upstream(first)
        u.receive()
        until(script, d)
        u.send(BUSY)
        v = script.upstream(1 - first)
        v.receive()
        v.send(SSE_HEAD + DONE)
        assert got(d) == DONE
        (record,) = script.records()
        assert (record["outcome"], record["tried"]) == ("ok", 2)


def test_a_hedge_begins_after_the_early_head_and_wins():
    with play(endpoints=2, hedge_after=0.08, hedge_budget=1.0) as script:
        script.engine.set_keepalive(0.02)
        d = script.downstream()
        d.send(ASK)
        first = next(k for k in range(2) if script.has_connected(k))
        script.upstream(first).receive()
        until(script, d)
        while not script.has_connected(1 - first):
            script.wait()
            d.receive()
        v = script.upstream(1 - first)
        v.receive()
        d.receive()
        v.send(SSE_HEAD + DONE)
        assert got(d) == DONE


def test_a_refused_edit_is_taken_back_after_the_early_head():
    with play(usage_request="usage") as script:
        script.engine.set_keepalive(0.02)
        d, u = waiting(script, ASK)
        until(script, d)
        u.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}")
        v = script.upstream()
        assert b"include_usage" not in v.receive()
        v.send(SSE_HEAD + DONE)
        assert got(d) == DONE


def test_an_interim_response_stays_here_behind_the_early_head(script):
    d, u = waiting(script, ASK)
    until(script, d)
    u.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + SSE_HEAD + DONE)
    assert got(d) == DONE


def test_a_caller_that_leaves_behind_the_early_head_is_noticed(script):
    d, u = waiting(script, ASK)
    until(script, d)
    d.close()
    assert u.is_closed()
    (record,) = script.records()
    assert (record["outcome"], record["status"]) == ("downstream/waiting/closed", 0)
    assert record["exactness"] == "uncounted"


def test_a_drain_that_ends_is_an_error_event(script):
    d, _ = waiting(script, ASK)
    until(script, d)
    script.engine.close_all()
    found = d.receive()
    assert b"the proxy is shutting down" in found
    assert b"0\r\n\r\n" not in found
