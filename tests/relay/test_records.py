"""The record of an exchange, and its place in a trace."""

import re

import pytest

from tests.support.editing import LAST, REFUSAL, TEXT, answer, json_post, unchunk
from tests.support.exchanges import connected, waiting
from tests.support.script import SSE_HEAD, chunk, event, get, ok, play, split_head

# ---------------------------------------------------------------- records


def test_the_model_of_a_failed_request_is_named_only_if_somebody_has_answered_for_it():
    with play() as script:
        d, u = waiting(script, json_post())
        u.send(REFUSAL)
        d.receive()
        for reply in (answer, lambda u, *_: u.send(REFUSAL)):
            d.send(json_post())
            u.receive()
            reply(u, TEXT % b"", LAST, b"[DONE]")
            d.receive()
        records = script.records()
        assert [r["model"] for r in records] == ["", "m-1", "m-1"]
        assert [r["finish"] for r in records] == ["error", "done", "error"]
        assert [r["exactness"] for r in records] == ["none", "exact", "none"]


def test_own_time_is_measured_where_a_caller_waits_for_it():
    with play() as script:
        d, u = waiting(script, json_post())
        answer(u, TEXT % b"", b"[DONE]")
        d.receive()
        own = script.engine.snapshot()["upstreams"][0]["histograms"]["overhead"]
        (record,) = script.records()
        assert own["n"] == 1
        assert 0 < own["sum_ns"] < record["total_ns"]


@pytest.mark.parametrize("piece", [b"", b'data: {"cho'])
def test_an_answer_to_a_get_is_not_counted_and_its_cut_is_told_only_between_events(piece):
    with play() as script:
        d, u = waiting(script, get(b"/v1/responses/1?stream=true"))
        u.send(SSE_HEAD + chunk(event(TEXT % b"") + event(LAST) + piece))
        u.close()
        _, body = split_head(d.receive())
        assert unchunk(body).startswith(event(TEXT % b"") + event(LAST) + piece)
        assert (b'{"type":"error",' in body) is (piece == b"")
        (record,) = script.records()
        assert (record["exactness"], record["finish"], record["prompt_tokens"]) == (
            "none", "", None,
        )  # fmt: skip


# ---------------------------------------------------------------- traces

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def sent_trace(script, extra):
    d, u = connected(script, json_post(extra=extra))
    found = re.findall(rb"(?i)\r\ntraceparent: ([^\r]*)", u.receive())
    u.send(ok())
    d.receive()
    (record,) = script.records()
    return found, record


def test_a_callers_trace_is_passed_on_as_it_is():
    with play() as script:
        found, record = sent_trace(script, b"traceparent: %s\r\n" % PARENT)
        assert found == [PARENT]
        assert record["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
        assert record["parent_span_id"] == "b7ad6b7169203331"
        assert record["trace_sampled"] is True


def test_our_span_stands_between_the_callers_and_the_servers():
    with play() as script:
        script.engine.set_tracing(0.0)
        found, record = sent_trace(script, b"traceparent: %s\r\n" % PARENT)
        ours = record["span_id"].encode()
        assert found == [b"00-0af7651916cd43dd8448eb211c80319c-%s-01" % ours]
        assert ours != b"b7ad6b7169203331"
        assert record["parent_span_id"] == "b7ad6b7169203331"


@pytest.mark.parametrize(("share", "flag"), [(0.0, b"00"), (1.0, b"01")])
def test_a_trace_that_begins_here_is_sampled_by_chance(share, flag):
    with play() as script:
        script.engine.set_tracing(share)
        found, record = sent_trace(script, b"")
        assert found == [
            b"00-%s-%s-%s" % (record["trace_id"].encode(), record["span_id"].encode(), flag)
        ]
        assert record["parent_span_id"] == ""
        assert record["trace_sampled"] is (flag == b"01")


def test_two_traceparents_are_none():
    with play() as script:
        twice = b"traceparent: %s\r\n" % PARENT * 2
        found, record = sent_trace(script, twice)
        assert len(found) == 1
        assert record["parent_span_id"] == ""


def test_the_first_byte_of_an_event_stream_is_that_of_its_body():
    with play() as script:
        d, u = connected(script, json_post())
        u.send(SSE_HEAD)
        d.receive()
        d.close()
        assert script.records()[0]["ttft_ns"] == 0


def test_what_the_ring_does_not_take_is_added_up():
    with play(ring_slots=2) as script:
        d = script.downstream()
        u = None
        for _ in range(7):
            d.send(json_post())
            u = u or script.upstream()
            u.receive()
            answer(u, TEXT % b"", LAST, b"[DONE]")
            d.receive()
        assert len(script.engine.records(100)) == 2
        (overflow,) = script.engine.take_overflow()
        assert (overflow["count"], overflow["prompt_tokens"], overflow["completion_tokens"]) == (
            5,
            15,
            45,
        )
        assert (overflow["model"], overflow["exactness"], overflow["upstream"]) == (
            "m-1",
            "exact",
            "vllm",
        )


# ---------------------------------------------------------------- counts that are none


@pytest.mark.parametrize("count", [b"268435457", b"9007199254740993", b"4" + b"0" * 18, b"1e18"])
def test_an_absurd_count_is_left_out_of_every_sum(count):
    with play() as script:
        d, u = waiting(script, json_post())
        last = b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":%s}}' % count
        answer(u, TEXT % b"", last, b"[DONE]")
        d.receive()
        (record,) = script.records()
        assert (record["prompt_tokens"], record["completion_tokens"]) == (3, None)
        assert (record["exactness"], record["model"]) == ("untrusted", "m-1")
        (totals,) = script.engine.snapshot()["tokens"]
        assert (totals["prompt"], totals["completion"]) == (3, 0)


def test_the_largest_count_is_kept():
    with play() as script:
        d, u = waiting(script, json_post())
        answer(u, b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":268435456}}')
        d.receive()
        (record,) = script.records()
        assert (record["completion_tokens"], record["exactness"]) == (268435456, "exact")


# ---------------------------------------------------------------- broken off before any count

WORKS = [
    b"/v1/chat/completions", b"/v1/embeddings", b"/v1/messages", b"/completion", b"/invocations",
]  # fmt: skip
HALF = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"


@pytest.mark.parametrize("path", WORKS)
@pytest.mark.parametrize("begun", [False, True])
def test_a_request_that_is_abandoned_without_a_count_is_marked(path, begun):
    with play() as script:
        d, u = waiting(script, json_post(b'{"model":"m-1"}', path=path))
        if begun:
            u.send(HALF)
            d.receive()
        d.close()
        assert u.is_closed()
        (record,) = script.records()
        assert (record["exactness"], record["finish"]) == ("uncounted", "cut")
        assert record["completion_tokens"] is None


def test_a_prefill_that_is_timed_out_is_marked():
    with play(first_byte=0.1) as script:
        d = script.downstream()
        d.send(json_post(b'{"model":"m-1"}'))
        script.upstream().receive()
        script.wait()
        assert d.receive().startswith(b"HTTP/1.1 504 ")
        (record,) = script.records()
        assert (record["exactness"], record["outcome"]) == ("uncounted", "upstream/waiting/timeout")


@pytest.mark.parametrize("begun", [False, True])
def test_what_our_own_stop_cuts_is_marked(begun):
    """A second SIGTERM left records that say nothing was generated."""
    with play() as script:
        d = script.downstream()
        d.send(json_post(b'{"model":"m-1"}'))
        u = script.upstream()
        u.receive()
        if begun:
            u.send(HALF)
            d.receive()
        script.engine.close_all()
        (record,) = script.records()
        assert (record["exactness"], record["finish"]) == ("uncounted", "cut")
        assert record["outcome"].startswith("ourselves/")


def test_what_no_engine_worked_on_is_not_marked():
    with play() as script:
        for request in (get(), json_post(b"{}", path=b"/tokenize"), json_post(b"{}")[:-1]):
            d = script.downstream()
            d.send(request)
            if script.has_connected():
                script.upstream().receive()
            d.close()
            (record,) = script.records()
            assert record["exactness"] == "none", request
