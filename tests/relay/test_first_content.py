"""The first content of a response ends the wait for it; comments and pings do not (law 2 of
count_and_strip.pyx)."""

import json
import time

import pytest

from tests.support.editing import json_post
from tests.support.exchanges import waiting
from tests.support.script import SSE_HEAD, chunk, event, play, post

COMMENT = b": keep-alive\n\n"
PINGS = [
    COMMENT,
    b":\n\n",
    b": ping - 2026-11-21 10:00:00\r\n\r\n",
    b'event: ping\ndata: {"type": "ping"}\n\n',
    b"event: ping\ndata: 2026-11-21\n\n",
    b'data: {"type":"keepalive","sequence_number":3}\n\n',
    b"retry: 3000\n\n",
]
PRELUDES = [
    event(b'{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}'),
    event(b'{"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}'),
    event(b'{"choices":[],"prompt_filter_results":[]}'),
    b'event: message_start\ndata: {"type":"message_start","message":{"content":[]}}\n\n',
    event(b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}'),
    event(b'{"type":"response.created","response":{"status":"in_progress"}}'),
    event(b'{"type":"response.output_item.added","item":{"type":"message"}}'),
]
CONTENTS = [
    event(),
    event(b'{"choices":[{"index":0,"text":"x"}]}'),
    event(b'{"choices":[{"index":0,"delta":{"role":"assistant","content":"x"}}]}'),
    event(b'{"choices":[{"index":0,"delta":{"reasoning_content":"x"}}]}'),
    event(b'{"choices":[{"index":0,"delta":{"refusal":"x"}}]}'),
    event(b'{"choices":[{"index":0,"delta":{"tool_calls":[{"function":{"name":"f"}}]}}]}'),
    event(b'{"choices":[{"index":0,"delta":{"function_call":{"name":"f"}}}]}'),
    event(b'{"choices":[{"index":0,"delta":{"audio":{"data":"eA=="}}}]}'),
    event(b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'),
    event(b'{"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}'),
    event(b'{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"x"}}'),
    event(b'{"type":"content_block_delta","delta":{"partial_json":"{"}}'),
    event(b'{"type":"response.output_text.delta","delta":"x"}'),
    event(b'{"type":"response.function_call_arguments.delta","delta":"x"}'),
    event(b'{"type":"transcript.text.delta","delta":"x"}'),
    event(b'{"content":"x","stop":false}'),
    event(b'{"text":"x","meta_info":{"completion_tokens":1}}'),
    event(b'{"token":{"id":1,"text":"x"}}'),
    # what no dialect here knows
    event(b"hello"),
    event(b'{"type":"token","value":"x"}'),
]


def begin(script, head=SSE_HEAD):
    d, u = waiting(script, json_post())
    u.send(head)
    script.turn()
    return d, u


def gaps(script):
    return script.engine.snapshot()["upstreams"][0]["histograms"]["gap"]["n"]


def first_words(script, *pieces):
    """Milliseconds from the head to the record's first content; 50 lie before the last piece."""
    d, u = begin(script)
    for piece in pieces[:-1]:
        u.send(chunk(piece))
        d.receive()
    time.sleep(0.05)
    u.send(chunk(pieces[-1]))
    u.send(b"0\r\n\r\n")
    d.receive()
    (record,) = script.records()
    return record["ttft_ns"] / 1e6


@pytest.mark.parametrize("early", PINGS + PRELUDES)
def test_what_has_no_content_does_not_end_the_wait(early):
    with play() as script:
        assert first_words(script, early, event()) >= 50


@pytest.mark.parametrize("content", CONTENTS)
def test_content_of_any_dialect_ends_the_wait(content):
    with play() as script:
        d, u = begin(script)
        before = gaps(script)
        u.send(chunk(content))
        d.receive()
        script.turn()
        u.send(chunk(event()))
        d.receive()
        # Gaps are measured from the first content on.
        assert gaps(script) == before + 1
        u.send(b"0\r\n\r\n")
        d.receive()


@pytest.mark.parametrize("ping", PINGS)
def test_a_ping_in_mid_response_is_no_gap(ping):
    with play() as script:
        d, u = begin(script)
        u.send(chunk(event()))
        for piece in (ping, ping, event()):
            u.send(chunk(piece))
            d.receive()
        assert gaps(script) == 1
        u.send(b"0\r\n\r\n")
        d.receive()


def test_an_error_is_no_first_token():
    with play() as script:
        d, u = begin(script)
        u.send(chunk(event(b'{"error":{"message":"out of memory"}}')) + b"0\r\n\r\n")
        d.receive()
        (record,) = script.records()
        assert (record["ttft_ns"], record["finish"]) == (0, "error")


def test_a_compressed_stream_has_its_first_data_for_content():
    with play() as script:
        d, u = begin(script, SSE_HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n"))
        time.sleep(0.05)
        u.send(chunk(b"\x1f\x8b") + b"0\r\n\r\n")
        d.receive()
        (record,) = script.records()
        assert record["ttft_ns"] >= 50e6


# ---------------------------------------------------------------- time limits


def outlasted(script, d, u, piece):
    """Send `piece` again and again until the exchange was ended."""
    until = time.monotonic() + 8
    while not u.is_closed():
        assert time.monotonic() < until, "pings keep it alive"
        u.send(chunk(piece))
        d.receive()
        time.sleep(0.02)
        script.turn()
    d.receive()
    return script.outcome()


@pytest.mark.parametrize("ping", PINGS)
def test_pings_do_not_keep_a_prefill_alive(ping):
    with play(first_byte=0.3, stream_idle=60.0) as script:
        assert outlasted(script, *begin(script), ping) == "upstream/relaying/timeout"


@pytest.mark.parametrize("ping", PINGS)
def test_pings_do_not_keep_a_silent_response_alive(ping):
    with play(stream_idle=0.3) as script:
        d, u = begin(script)
        u.send(chunk(event()))
        assert outlasted(script, d, u, ping) == "upstream/relaying/timeout"


def test_a_prefill_may_be_longer_than_a_silence_in_mid_response():
    with play(first_byte=60.0, stream_idle=0.1) as script:
        d, u = begin(script)
        u.send(chunk(COMMENT))
        d.receive()
        time.sleep(0.3)
        script.turn()
        u.send(chunk(event()))
        assert event() in d.receive()
        # From the first content on the other limit holds, though the timer was set for the first.
        script.wait()
        d.receive()
        assert script.outcome() == "upstream/relaying/timeout"


def test_data_without_content_is_a_sign_of_life():
    with play(first_byte=0.3, stream_idle=0.3) as script:
        d, u = begin(script)
        for _ in range(10):
            u.send(chunk(PRELUDES[0]))
            assert PRELUDES[0] in d.receive()
            time.sleep(0.05)
            script.turn()
        u.send(chunk(event()) + b"0\r\n\r\n")
        d.receive()
        assert script.outcome() == "ok"


# ---------------------------------------------------------------- users of the time


def vital(script):
    (found,) = script.engine.health_sample(after=0)
    return found


@pytest.mark.parametrize("ping", PINGS)
def test_pings_are_no_sign_of_an_engine(ping):
    with play() as script:
        d, u = begin(script)
        u.send(chunk(event()))
        d.receive()
        before = vital(script)["last_data_s"]
        time.sleep(0.02)
        u.send(chunk(ping))
        d.receive()
        assert vital(script)["last_data_s"] == before
        u.send(chunk(event()))
        d.receive()
        assert vital(script)["last_data_s"] > before
        u.send(b"0\r\n\r\n")
        d.receive()


def test_a_response_without_content_has_not_begun():
    with play() as script:
        d, u = begin(script)
        u.send(chunk(PRELUDES[0]))
        d.receive()
        assert (vital(script)["owed"], vital(script)["begun"]) == (1, 0)
        u.send(chunk(event()))
        d.receive()
        assert vital(script)["begun"] == 1
        u.send(b"0\r\n\r\n")
        d.receive()


def test_the_limit_that_adapts_itself_goes_by_content():
    with play(ttft_target=0.05, min_inflight=1, max_inflight=8) as script:
        d, u = begin(script)
        u.send(chunk(COMMENT + PRELUDES[0]))
        d.receive()
        time.sleep(0.1)
        u.send(chunk(event()) + b"0\r\n\r\n")
        d.receive()
        assert script.engine.snapshot()["upstreams"][0]["endpoints"][0]["limit_cuts"] == 1


def test_get_streams_are_watched_as_well():
    """A response that is fetched again is not counted; pings do not keep it alive either."""
    request = b"GET /v1/responses/1?stream=true HTTP/1.1\r\nHost: a\r\n\r\n"
    with play(stream_idle=0.3) as script:
        d, u = waiting(script, request)
        u.send(SSE_HEAD + chunk(event()))
        assert outlasted(script, d, u, COMMENT) == "upstream/relaying/timeout"


def test_ndjson_without_data_is_no_content():
    head = SSE_HEAD.replace(b"text/event-stream; charset=utf-8", b"application/x-ndjson")
    line = json.dumps({"message": {"role": "assistant", "content": "x"}, "done": False}).encode()
    with play() as script:
        d, u = waiting(script, post(b"/api/chat"))
        u.send(head + chunk(b"\n"))
        d.receive()
        time.sleep(0.05)
        u.send(chunk(line + b"\n") + b"0\r\n\r\n")
        d.receive()
        (record,) = script.records()
        assert record["ttft_ns"] >= 50e6
