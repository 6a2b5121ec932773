"""Completeness of answers. Some are delimited by close (H7); of others the server ends the conn
behind the end of the dialect, but not of the message (F11)."""

import pytest

from tests.support.breakers import terms
from tests.support.editing import LAST, RUNNING, TEXT, USAGE, json_post, unchunk
from tests.support.exchanges import connected, waiting
from tests.support.script import SSE_HEAD, chunk, event, get, ok, play, post, split_head

DONE = event(b"[DONE]")
CLOSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n\r\n"
EVENTS, LINES, JSON = b"text/event-stream", b"application/x-ndjson", b"application/json"
ONE = event(TEXT % b"")
ERROR = event(b'{"error":{"message":"engine died"}}')


def closed(kind, *reads, request=None, how="close", **words):
    """An answer that ends with its conn: the bytes that the caller receives, and the record."""
    with play(**words) as script:
        d, u = connected(script, request or post())
        # A close over unread bytes is a reset.
        if how == "close":
            u.receive()
        u.send(CLOSE_HEAD % kind if kind else b"HTTP/1.1 200 OK\r\n\r\n")
        for read in reads:
            u.send(read)
        _, body = split_head(d.receive())
        u.close()
        body += d.receive()
        if not body.endswith(b"0\r\n\r\n"):
            assert d.is_closed()
        (record,) = script.records()
        (endpoint,) = script.engine.snapshot()["upstreams"][0]["endpoints"]
        record["failures"] = endpoint["failures"]
        return body, record


# ---------------------------------------------------------------- H7: a body that ends by FIN


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (EVENTS, ONE),
        (EVENTS, ONE + DONE),
        (EVENTS, ONE + b"data: [DONE]"),
        (EVENTS, ONE + DONE + b"data: {"),
        (EVENTS, ONE + b": ping\n"),
        (EVENTS, ONE + b": pi"),
        (EVENTS, ONE[:-1]),
        (EVENTS, ONE[:-2]),
        (EVENTS, ONE.replace(b"\n", b"\r")),
        (LINES, b'{"a":1}\n{"a":2}\n'),
        (LINES, b'{"a":1}\n{"a":2}'),
        (JSON, b'{"a":[1]}'),
        (JSON, b'{"a":[1]}\n'),
        (JSON, b"[1]"),
        (JSON, b""),
        (b"text/plain", b'{"a'),
        (b"", b'{"a'),
    ],
)
def test_a_close_delimited_answer_that_is_whole_ends_cleanly(kind, body):
    got, record = closed(kind, body)
    assert unchunk(got) == body
    assert got.endswith(b"0\r\n\r\n")
    assert (record["outcome"], record["failures"]) == ("ok", 0)


CUTS = [
    (EVENTS, ONE, b'data: {"half'),
    (EVENTS, ONE, b'data: {"half":1'),
    (EVENTS, ONE, b'data: {"half":1\n'),
    (EVENTS, ONE, b"data: [DON"),
    (EVENTS, ONE, b"data:"),
    (EVENTS, ONE, b"data: "),
    (EVENTS, ONE, b"data: hel"),
    (EVENTS, ONE, b"dat"),
    (EVENTS, ONE, b"event: message_stop\n"),
    (EVENTS, ONE.replace(b"\n", b"\r\n"), b'data: {"half'),
    (EVENTS, b"", b'data: {"half'),
    (LINES, b'{"a":1}\n', b'{"a'),
    (LINES, b'{"a":1}\n', b'{"a":1'),
    (JSON, b"", b'{"a":[1]'),
    (JSON, b"", b'{"a":"x'),
    (JSON, b"", b"[1,2"),
]


@pytest.mark.parametrize(("kind", "before", "part"), CUTS)
@pytest.mark.parametrize("bytewise", [False, True])
def test_a_close_delimited_answer_that_ends_in_the_middle_looks_cut(kind, before, part, bytewise):
    reads = [before] if before else []
    reads += [part[k : k + 1] for k in range(len(part))] if bytewise else [part]
    got, record = closed(kind, *reads)
    assert unchunk(got) == before + part, "nothing is added inside an event"
    assert not got.endswith(b"0\r\n\r\n")
    assert record["outcome"] == "upstream/relaying/closed"
    assert record["failures"] == 1


@pytest.mark.parametrize(("kind", "before", "part"), CUTS[:6])
def test_held_bytes_of_it_are_not_sent_and_the_error_is_passed_on(kind, before, part):
    got, record = closed(kind, before, part, request=json_post(), usage_request=RUNNING)
    assert unchunk(got).startswith(before + b'data: {"error":{"message":')
    assert not got.endswith(b"0\r\n\r\n")
    assert record["outcome"] == "upstream/relaying/closed"


@pytest.mark.parametrize("kind", [EVENTS, JSON])
def test_a_get_is_held_to_the_same(kind):
    part = b'data: {"half' if kind == EVENTS else b'{"data":['
    got, record = closed(kind, part, request=get())
    assert not got.endswith(b"0\r\n\r\n")
    assert record["outcome"] == "upstream/relaying/closed"
    assert (record["exactness"], record["finish"]) == ("none", "")


def test_http_1_0_sees_it_as_a_reset():
    with play() as script:
        d, u = waiting(script, b"POST /x HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
        u.send(CLOSE_HEAD % EVENTS + ONE + b'data: {"half')
        d.receive()
        u.close()
        assert d.was_reset()


def test_a_reset_never_ends_a_close_delimited_answer():
    got, record = closed(EVENTS, ONE, how="reset")
    assert unchunk(got).startswith(ONE + b'data: {"error":')
    assert not got.endswith(b"0\r\n\r\n")
    assert record["outcome"] == "upstream/relaying/reset"


# ---------------------------------------------------------------- F11: FIN behind [DONE]

ENDS = {
    "chat": (b"/v1/chat/completions", EVENTS, ONE + event(LAST) + DONE),
    "messages": (
        b"/v1/messages", EVENTS, b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    ),
    "responses": (
        b"/v1/responses", EVENTS,
        b'event: response.completed\ndata: {"type":"response.completed","response":{}}\n\n',
    ),
    "ollama": (b"/api/chat", LINES, b'{"message":{"content":"x"}}\n{"done":true}\n'),
}  # fmt: skip


def unended(script, path, kind, body, how="close"):
    """One exchange on a fresh conn whose answer has no last chunk; what the caller got of it."""
    d, u = connected(script, post(path))
    if how == "close":
        u.receive()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % kind
    u.send(head + chunk(body))
    _, got = split_head(d.receive())
    u.close()
    return got + d.receive(), d


def endpoint_of(script):
    return script.engine.snapshot()["upstreams"][0]["endpoints"][0]


@pytest.mark.parametrize("name", ENDS)
def test_a_fin_behind_the_end_of_the_dialect_ends_the_answer(name):
    path, kind, body = ENDS[name]
    with play(breaker=terms(failures=5)) as script:
        for k in range(8):
            got, d = unended(script, path, kind, body)
            assert got == chunk(body) + b"0\r\n\r\n"
            (record,) = script.records()
            assert (record["outcome"], record["finish"]) == ("ok", "done")
            e = endpoint_of(script)
            assert (e["failures"], e["unframed"], e["breaker"]["state"]) == (0, k + 1, "closed")
            d.send(get())
            again = script.upstream()
            again.send(ok())
            assert d.receive().endswith(b"ok"), "the caller's conn goes on, the other does not"
            script.records()
            again.close()


@pytest.mark.parametrize("how", ["close", "reset"])
def test_an_answer_whose_length_falls_short_behind_done_is_cut_and_no_evidence(how):
    whole = ONE + DONE
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n"
    with play(breaker=terms(failures=5)) as script:
        for _ in range(8):
            d, u = connected(script)
            if how == "close":
                u.receive()
            u.send(head % (len(whole) + 5) + whole)
            assert split_head(d.receive())[1] == whole
            u.close()
            assert d.receive() == b""
            assert d.is_closed()
            (record,) = script.records()
            assert record["outcome"].startswith("upstream/relaying/")
        e = endpoint_of(script)
        assert (e["failures"], e["unframed"], e["breaker"]["state"]) == (0, 8, "closed")


def test_a_length_that_is_not_passed_on_falls_short_unseen():
    whole = ONE + event(LAST) + DONE
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n"
    with play(usage_request=USAGE) as script:
        d, u = waiting(script, json_post())
        u.send(head % (len(whole) + 5) + whole)
        u.close()
        assert split_head(d.receive())[1] == chunk(ONE + DONE) + b"0\r\n\r\n"
        assert script.outcome() == "ok"


@pytest.mark.parametrize("body", [ONE + ERROR + DONE, ONE + event(LAST), ONE])
def test_without_that_end_or_behind_an_error_a_fin_is_a_cut_and_evidence(body):
    with play(breaker=terms(failures=5, open_for=60.0)) as script:
        for _ in range(5):
            got, _ = unended(script, b"/v1/chat/completions", EVENTS, body)
            assert not got.endswith(b"0\r\n\r\n")
            assert script.outcome() == "upstream/relaying/closed"
        e = endpoint_of(script)
        assert (e["failures"], e["unframed"]) == (5, 0)
        # The last endpoint of an upstream is not shut, but each was evidence.
        assert e["breaker"]["in_a_row"] == 5


def test_half_an_event_of_the_end_is_cut_but_no_evidence():
    with play() as script:
        got, d = unended(script, b"/v1/chat/completions", EVENTS, ONE + DONE[:-1])
        assert got == chunk(ONE + DONE[:-1])
        assert d.is_closed()
        assert script.outcome() == "upstream/relaying/closed"
        assert endpoint_of(script)["failures"] == 0


def test_behind_done_a_reset_is_passed_on_and_no_error_event_added():
    with play() as script:
        got, d = unended(script, b"/v1/chat/completions", EVENTS, ONE + DONE, "reset")
        assert got == chunk(ONE + DONE)
        assert d.is_closed()
        assert script.outcome() == "upstream/relaying/reset"
        assert endpoint_of(script)["failures"] == 0


def test_behind_done_silence_is_no_evidence():
    with play(stream_idle=0.05) as script:
        d = script.downstream()
        d.send(post())
        script.upstream().send(SSE_HEAD + chunk(ONE + DONE))
        d.receive()
        script.wait()
        assert d.receive() == b""
        assert script.outcome() == "upstream/relaying/timeout"
        assert endpoint_of(script)["failures"] == 0
