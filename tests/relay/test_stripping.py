"""Usage that the proxy requested is taken out, and usage that the caller requested is passed on,
whatever its shape."""

import pytest

from tests.support.editing import (
    BESIDE,
    EITHER_ALONE,
    LAST,
    RUNNING,
    TEXT,
    USAGE,
    json_post,
    unchunk,
)
from tests.support.exchanges import waiting
from tests.support.script import SSE_HEAD, chunk, event, play, split_head

DONE = event(b"[DONE]")
CLOSING = b'{"prompt_tokens":3,"completion_tokens":9}'
FINISH = b'{"choices":[{"index":%d,"delta":{},"finish_reason":"stop"}]%s}'
ASKS_USAGE = b'{"stream":true,"stream_options":{"include_usage":true}}'


def stripped(*reads, usage_request=RUNNING, body=b'{"stream":true}', head=SSE_HEAD):
    """(the caller's bytes, the record) of an answer that came in these reads."""
    with play(usage_request=usage_request) as script:
        d, u = waiting(script, json_post(body))
        u.send(head)
        for read in reads:
            u.send(chunk(read))
        u.send(b"0\r\n\r\n")
        got, sent = split_head(d.receive())
        (record,) = script.records()
        assert record["outcome"] == "ok"
        assert (record["prompt_tokens"], record["completion_tokens"]) == (3, 9)
        return unchunk(sent), got


# ---------------------------------------------------------------- F7: every shape


@pytest.mark.parametrize("usage_request", [USAGE, RUNNING, EITHER_ALONE])
@pytest.mark.parametrize(
    "closing",
    [
        b'{"id":"c","usage":%s}' % CLOSING,
        b'{"id":"c","choices":null,"usage":%s}' % CLOSING,
        b'{"id":"c","choices":[],"usage":%s}' % CLOSING,
        b'{"usage":%s,"id":"c","choices":null}' % CLOSING,
        b'{"usage":%s}' % CLOSING,
        b'{"id":"c","choices":\ndata: [],"usage":%s}' % CLOSING,
    ],
)
def test_a_usage_event_without_a_choice_goes_as_a_whole(closing, usage_request):
    body, _ = stripped(event(TEXT % b"") + event(closing) + DONE, usage_request=usage_request)
    assert body == event(TEXT % b"") + DONE


@pytest.mark.parametrize("usage_request", [USAGE, RUNNING, EITHER_ALONE])
def test_usage_beside_the_last_choice_goes_if_only_we_asked(usage_request):
    usage = b',"usage":' + CLOSING
    body, _ = stripped(
        event(TEXT % b"") + event(FINISH % (0, usage)) + DONE, usage_request=usage_request
    )
    assert body == event(TEXT % b"") + event(FINISH % (0, b"")) + DONE


def test_an_error_beside_usage_stays():
    last = b'{"error":{"message":"x"}%s}'
    body, _ = stripped(event(last % (b',"usage":' + CLOSING)) + DONE)
    assert body == event(last % b"") + DONE


@pytest.mark.parametrize(
    "parts",
    [
        (event(TEXT % BESIDE), event(FINISH % (0, b',"usage":' + CLOSING)), DONE),
        (event(TEXT % BESIDE) + event(FINISH % (0, b',"usage":' + CLOSING)) + DONE,),
        (event(TEXT % BESIDE) + event(FINISH % (0, b',"usage":' + CLOSING)),),
        (event(FINISH % (0, b',"usage":' + CLOSING)), b": ping\n", b"data: [DO", b"NE]\n\n"),
    ],
)
def test_who_asked_gets_usage_from_a_server_that_puts_it_beside_the_last_choice(parts):
    body, _ = stripped(*parts, body=ASKS_USAGE)
    assert body == b"".join(parts).replace(BESIDE, b"")


@pytest.mark.parametrize(
    "parts",
    [
        (event(FINISH % (0, BESIDE)), event(LAST), DONE),
        (event(FINISH % (0, BESIDE)) + event(LAST) + DONE,),
        (event(FINISH % (0, BESIDE)), event(TEXT % BESIDE), event(FINISH % (1, BESIDE)),
         b": ping\n\n", event(LAST) + DONE),
    ],
)  # fmt: skip
def test_who_asked_gets_usage_once_from_a_server_with_a_closing_event(parts):
    body, _ = stripped(*parts, body=ASKS_USAGE)
    assert body == b"".join(parts).replace(BESIDE, b"")


def test_an_event_that_waits_is_not_lost_to_a_cut():
    last = event(FINISH % (0, b',"usage":' + CLOSING))
    with play(usage_request=RUNNING) as script:
        d, u = waiting(script, json_post(ASKS_USAGE))
        u.send(SSE_HEAD + chunk(event(TEXT % BESIDE) + last))
        u.close()
        sent = unchunk(split_head(d.receive())[1])
        assert sent.startswith(event(TEXT % b"") + last + b'data: {"error":')
        (record,) = script.records()
        assert record["outcome"] == "upstream/relaying/closed"
        assert (record["completion_tokens"], record["bytes_out"]) == (
            9, len(event(TEXT % b"") + last),
        )  # fmt: skip


# ---------------------------------------------------------------- F7: under any type


@pytest.mark.parametrize("usage_request", [USAGE, RUNNING])
@pytest.mark.parametrize(
    "kind",
    [b"", b"text/plain", b"application/octet-stream", b"application/json", b"application/x-ndjson"],
)
@pytest.mark.parametrize("start", [b"", b"\n", b"\xef\xbb\xbf", b": hello\n\n", b"event: x\n"])
def test_a_stream_under_any_type_is_stripped_and_counted(kind, start, usage_request):
    line = b"content-type: " + kind + b"\r\n" if kind else b""
    head = b"HTTP/1.1 200 OK\r\n" + line + b"transfer-encoding: chunked\r\n\r\n"
    body, _ = stripped(
        start + event(TEXT % b"") + event(LAST) + DONE, head=head, usage_request=usage_request
    )
    assert body == start + event(TEXT % b"") + DONE


def test_a_stream_with_a_length_under_a_wrong_type_loses_the_length():
    whole = event(TEXT % b"") + event(LAST) + DONE
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
    with play(usage_request=USAGE) as script:
        d, u = waiting(script, json_post())
        u.send(head % len(whole))
        u.send_bytewise(whole)
        head, body = split_head(d.receive())
        assert b"content-length" not in head.lower()
        assert unchunk(body) == event(TEXT % b"") + DONE
        assert script.outcome() == "ok"


def test_a_caller_who_asked_is_counted_under_any_type():
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    whole = event(TEXT % b"") + event(LAST) + DONE
    body, _ = stripped(whole, head=head, usage_request=USAGE, body=ASKS_USAGE)
    assert body == whole


@pytest.mark.parametrize("kind", [b"application/json", b"text/plain"])
def test_what_is_no_stream_passes_as_it_is(kind):
    whole = b'{"choices":[{"message":{"content":"data: x"}}],"usage":%s}' % CLOSING
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    with play(usage_request=USAGE) as script:
        d = script.downstream()
        d.send(json_post())
        script.upstream().send(head % (kind, len(whole)) + whole)
        _, body = split_head(d.receive())
        assert unchunk(body) == whole
        (record,) = script.records()
        assert record["completion_tokens"] == (9 if kind == b"application/json" else None)


# ---------------------------------------------------------------- F9: what goes out at once


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_comment_goes_out_at_once(end):
    with play(usage_request=RUNNING) as script:
        d, u = waiting(script, json_post())
        u.send(SSE_HEAD)
        d.receive()
        for part in (b": ping" + end, end, b": pi", b"ng" + end):
            u.send(chunk(part))
            assert unchunk(d.receive()) == part
        u.send(chunk(event(TEXT % BESIDE)))
        assert unchunk(d.receive()) == event(TEXT % b"")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_an_event_goes_out_with_its_end_whichever_line_ends_it_has(end):
    with play(usage_request=RUNNING) as script:
        d, u = waiting(script, json_post())
        u.send(SSE_HEAD)
        d.receive()
        for _ in range(3):
            u.send(chunk(b"data: " + TEXT % BESIDE + end + end))
            assert unchunk(d.receive()) == b"data: " + TEXT % b"" + end + end
        u.send(chunk(b"data: " + LAST + end + end))
        assert d.receive() == b""
        u.send(chunk(b"data: [DONE]" + end + end) + b"0\r\n\r\n")
        assert unchunk(d.receive()) == b"data: [DONE]" + end + end
        (record,) = script.records()
        assert (record["completion_tokens"], record["finish"]) == (9, "done")
