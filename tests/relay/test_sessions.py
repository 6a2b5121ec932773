"""Usage in WebSocket sessions, and the model that only a query names."""

import json
import struct

import pytest

from tests.support.editing import JSON, TEXT, answer, json_post
from tests.support.exchanges import connected, waiting
from tests.support.script import get, ok, play, post

OFFERS = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: x\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    b"sec-websocket-extensions: x-webkit-deflate-frame\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
SESSIONS = [b"/v1/realtime", b"/v1/responses"]


def frame(payload):
    data = json.dumps(payload).encode()
    n = len(data)
    return (struct.pack("!BBH", 0x81, 126, n) if n > 125 else bytes([0x81, n])) + data


def done(prompt, completion, kind="response.completed", model="m-1"):
    usage = {"input_tokens": prompt, "output_tokens": completion}
    return frame({"type": kind, "response": {"model": model, "usage": usage}})


def session(script, path, *frames):
    """(the request that upstream received, the record) of a session in which it sent these."""
    d, u = connected(script, get(path, OFFERS))
    asked = u.receive()
    u.send(SWITCH + b"".join(frames))
    d.receive()
    u.finish()
    d.finish()
    d.close()
    (record,) = script.records()
    return asked, record


@pytest.mark.parametrize("path", SESSIONS)
def test_compressed_frames_are_not_offered_where_frames_are_counted(path):
    with play() as script:
        asked, _ = session(script, path)
        assert b"sec-websocket-extensions" not in asked.lower()
        assert b"Sec-WebSocket-Key: x\r\n" in asked
        asked, _ = session(script, b"/ws/terminal")
        assert asked.count(b"deflate") == 2


@pytest.mark.parametrize("path", SESSIONS)
def test_responses_over_a_websocket_are_counted_each(path):
    created = frame({"type": "response.created", "response": {"usage": None}})
    with play() as script:
        _, record = session(script, path, created, done(9, 4), created, done(15, 2))
        assert (record["prompt_tokens"], record["completion_tokens"]) == (24, 6)
        assert (record["exactness"], record["finish"], record["model"]) == ("exact", "done", "m-1")


def test_a_session_whose_last_response_was_not_told_is_a_lower_bound():
    text = frame({"type": "response.output_text.delta", "delta": "x"})
    created = frame({"type": "response.created", "response": {"usage": None}})
    with play() as script:
        _, record = session(script, SESSIONS[1], text, done(9, 4), created, text, text)
        assert (record["completion_tokens"], record["finish"]) == (6, "cut")
        assert record["exactness"] == "lower_bound"


@pytest.mark.parametrize(
    ("query", "model"),
    [
        (b"?model=m-1", "m-1"),
        (b"?a=model=x&model=org%2Fm&b=1", "org/m"),
        (b"?model=a+b", "a b"),
        (b"?model=", ""),
        (b"?model=%00", "?"),
        (b"?models=m-1", ""),
        (b"", ""),
    ],
)
def test_the_model_of_a_session_is_that_of_its_query(query, model):
    bare = frame({"type": "response.done", "response": {
        "usage": {"input_tokens": 9, "output_tokens": 4}}})  # fmt: skip
    with play() as script:
        _, record = session(script, SESSIONS[0] + query, bare)
        assert (record["model"], record["completion_tokens"]) == (model, 4)


@pytest.mark.parametrize(
    ("body", "kind", "model"),
    [
        (b'{"model":"m-1"}', JSON, "m-1"),
        (b"{}", JSON, "m-2"),
        (b"--x", b"Content-Type: multipart/form-data; boundary=x\r\n", "m-2"),
    ],
)
def test_a_query_names_the_model_where_the_body_does_not(body, kind, model):
    counted = ok(b'{"usage":{"prompt_tokens":3,"completion_tokens":1}}', JSON)
    with play() as script:
        d, u = waiting(script, post(b"/v1/audio/transcriptions?model=m-2", body, kind))
        u.send(counted)
        d.receive()
        (record,) = script.records()
        assert (record["model"], record["exactness"]) == (model, "exact")


# ---------------------------------------------------------------- answers that can be read

POSTS = [
    b"/v1/messages", b"/v1/responses", b"/invocations", b"/v1/embeddings", b"/rerank",
    b"/v1/chat/completions/batch", b"/v1/completions",
]  # fmt: skip


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("kind", [JSON, b"Content-Type: multipart/form-data; boundary=x\r\n", b""])
def test_the_answer_to_a_post_must_come_uncompressed(path, kind):
    with play() as script:
        d = script.downstream()
        d.send(post(path, b"{}", kind + b"Accept-Encoding: gzip, br\r\n"))
        assert b"accept-encoding" not in script.upstream().receive().lower()


def test_what_is_not_counted_may_be_compressed():
    with play() as script:
        d = script.downstream()
        d.send(get(extra=b"Accept-Encoding: gzip\r\n"))
        assert b"Accept-Encoding: gzip\r\n" in script.upstream().receive()


# ---------------------------------------------------------------- llama.cpp

TIMINGS = "timings"
TIMED = b',"timings":{"cache_n":1,"prompt_n":3,"predicted_n":%d,"predicted_ms":1.5}'


def test_an_aborted_stream_of_llama_cpp_has_its_counts():
    with play(usage_request=TIMINGS) as script:
        d, u = connected(script, json_post())
        body = u.receive().partition(b"\r\n\r\n")[2]
        assert json.loads(body)["timings_per_token"] is True
        answer(u, TEXT % (TIMED % 1), TEXT % (TIMED % 2))
        found = d.receive()
        assert b"timings" not in found
        assert found.count(TEXT % b"") == 2
        (record,) = script.records()
        assert (record["prompt_tokens"], record["completion_tokens"]) == (4, 2)
        assert (record["cached_tokens"], record["exactness"]) == (1, "exact")


def test_the_timings_that_end_a_choice_stay():
    last = b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]%s}' % (TIMED % 2)
    with play(usage_request=TIMINGS) as script:
        d, u = waiting(script, json_post())
        answer(u, TEXT % (TIMED % 1), last, b"[DONE]")
        found = d.receive()
        assert last in found
        assert found.count(b"timings") == 1
        (record,) = script.records()
        assert (record["completion_tokens"], record["usage_by"]) == (2, "proxy")


@pytest.mark.parametrize("said", [b"true", b"false", b"null"])
def test_a_caller_that_sets_timings_gets_those_it_requested(said):
    body = b'{"model":"m","stream":true,"timings_per_token":%s}' % said
    with play(usage_request=TIMINGS) as script:
        d, u = connected(script, json_post(body))
        assert u.receive().endswith(body)
        answer(u, TEXT % (TIMED % 1), b"[DONE]")
        assert TEXT % (TIMED % 1) in d.receive()


def test_who_does_not_stream_is_not_asked():
    with play(usage_request=TIMINGS) as script:
        d = script.downstream()
        d.send(json_post(b'{"model":"m"}'))
        assert script.upstream().receive().endswith(b'{"model":"m"}')


def test_servers_of_different_kinds_are_asked_for_what_all_of_them_take():
    with play(usage_request=TIMINGS, endpoints=2) as script:
        script.engine.set_endpoint(1, usage_request="running")
        d = script.downstream()
        d.send(json_post())
        assert script.upstream(0 if script.has_connected(0) else 1).receive().endswith(b"true}")
