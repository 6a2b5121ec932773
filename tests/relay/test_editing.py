"""Usage asked for on the caller's behalf: into the request, out of the response, and taken back."""

import json

import pytest

from tests.support.editing import (
    ASKS,
    BESIDE,
    BOTH,
    CHUNKED,
    EITHER_ALONE,
    JSON,
    LAST,
    REFUSAL,
    RUNNING,
    TEXT,
    USAGE,
    answer,
    form,
    json_post,
    length_of,
    unchunk,
)
from tests.support.exchanges import connected, waiting
from tests.support.script import SSE_HEAD, chunk, event, get, ok, play, post, split_head

# ---------------------------------------------------------------- into the request


@pytest.mark.parametrize(
    ("usage_request", "options"), [(USAGE, {"include_usage": True}), (RUNNING, BOTH)]
)
def test_a_request_that_came_in_one_piece_grows_by_exactly_its_edit(usage_request, options):
    with play(usage_request=usage_request) as script:
        d = script.downstream()
        d.send(json_post())
        head, body = split_head(script.upstream().receive())
        assert json.loads(body) == {**json.loads(ASKS), "stream_options": options}
        assert length_of(head) == len(body)
        assert not body.endswith(b" ")


def test_a_body_that_comes_later_is_edited_within_the_length_that_was_announced():
    with play(usage_request=RUNNING) as script:
        d = script.downstream()
        head, body = split_head(json_post())
        d.send(head)
        d.send_bytewise(body)
        u = script.upstream()
        head, body = split_head(u.receive())
        assert length_of(head) == len(body)
        assert json.loads(body)["stream_options"] == BOTH


@pytest.mark.parametrize("body", [b'{"stream":false}', b"{}", b'{"a":"\xc3\xa9"} ', b"no json"])
def test_a_body_that_needs_no_edit_is_filled_with_blanks_behind_its_end(body):
    with play(usage_request=USAGE) as script:
        d = script.downstream()
        head, body = split_head(json_post(body))
        d.send(head)
        d.send_bytewise(body)
        u = script.upstream()
        head, sent = split_head(u.receive())
        assert length_of(head) == len(sent)
        assert sent.rstrip(b" ") == body.rstrip(b" ")


def test_a_chunked_body_is_edited_in_any_split():
    whole = b'{"stream":true,"stream_options":{"include_usage":false,"a":1},"model":"m"}'
    for k in range(1, len(whole)):
        with play(usage_request=RUNNING) as script:
            d = script.downstream()
            d.send(CHUNKED + chunk(whole[:k]))
            d.send(chunk(whole[k:]) + b"0\r\n\r\n")
            _, sent = split_head(script.upstream().receive())
            assert json.loads(unchunk(sent))["stream_options"] == {**BOTH, "a": 1}, k


def test_a_pipelined_request_behind_an_edited_one_is_not_touched():
    with play(usage_request=RUNNING) as script:
        d, u = connected(script, json_post() + get(b"/second"))
        _, body = split_head(u.receive())
        assert json.loads(body)["stream_options"] == BOTH
        answer(u, TEXT % b"", b"[DONE]")
        d.receive()
        assert u.receive().startswith(b"GET /second HTTP/1.1\r\n")
        u.send(ok())
        assert d.receive().endswith(b"ok")


@pytest.mark.parametrize(
    "request_",
    [
        json_post(path=b"/v1/embeddings"),
        json_post(path=b"/v1/messages"),
        json_post(extra=b"Content-Encoding: gzip\r\n"),
        json_post(extra=b"Signature: x\r\n"),
        form(b"m"),
        post(body=b"stream=true"),
        post(body=b'"stream"', extra=b"Content-Type: text/plain\r\n"),
        json_post(
            b'{"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}'
        ),
    ],
)
def test_what_must_not_be_edited_is_passed_as_it_is(request_):
    with play(usage_request=RUNNING) as script:
        script.downstream().send(request_)
        head, body = split_head(script.upstream().receive())
        assert body == split_head(request_)[1]
        assert length_of(head) == len(body)


TYPES = [
    b"",
    b"Content-Type:\r\n",
    b"Content-Type: text/json\r\n",
    b"Content-Type: application/vnd.api+json; charset=utf-8\r\n",
    b"Content-Type: application/x-www-form-urlencoded\r\n",
    b"Content-Type: text/plain\r\n",
    JSON + b"Content-Encoding: identity\r\n",
]


@pytest.mark.parametrize("extra", TYPES)
@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/completions", b"/invocations"])
@pytest.mark.parametrize("later", [0, 1])
def test_json_is_edited_whatever_it_is_called(extra, path, later):
    request = post(path, b" \r\n" + ASKS, extra)
    at = len(request) - len(ASKS) - 2 if later else len(request)
    with play(usage_request=USAGE) as script:
        d = script.downstream()
        d.send(request[:at])
        assert not (later and script.has_connected())
        d.send(request[at:])
        head, body = split_head(script.upstream().receive())
        assert json.loads(body)["stream_options"] == {"include_usage": True}
        assert length_of(head) == len(body)


@pytest.mark.parametrize(
    "said", [b'"stream":1', b'"stream":"true"', b'"stream":"on"', b'"\\u0073tream":true']
)
def test_usage_is_asked_for_in_every_spelling_of_stream(said):
    with play(usage_request=USAGE) as script:
        d, u = connected(script, json_post(b'{"model":"m",%s}' % said))
        _, body = split_head(u.receive())
        assert json.loads(body)["stream_options"] == {"include_usage": True}
        answer(u, TEXT % b"", LAST, b"[DONE]")
        assert b"usage" not in d.receive()
        (record,) = script.records()
        assert (record["prompt_tokens"], record["completion_tokens"]) == (3, 9)
        assert (record["exactness"], record["usage_by"]) == ("exact", "proxy")


def test_an_odd_spelling_teaches_nothing_about_the_endpoint():
    """One that takes 1 for no stream refuses the question; it would not refuse it of a stream."""
    with play(usage_request=USAGE) as script:
        d, u = waiting(script, json_post(b'{"stream":1}'))
        u.send(REFUSAL)
        u = script.upstream()
        assert json.loads(split_head(u.receive())[1]) == {"stream": 1}
        u.send(ok(b"{}", extra=JSON + b"Connection: close\r\n"))
        assert d.receive().startswith(b"HTTP/1.1 200 ")
        d.send(json_post())
        assert b"include_usage" in script.upstream().receive()


@pytest.mark.parametrize("code", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("extra", [b"", JSON])
def test_json_in_another_code_is_refused(code, extra):
    with play(usage_request=USAGE) as script:
        d = script.downstream()
        d.send(post(body='{"stream":true}'.encode(code), extra=extra))
        got = d.receive()
        assert got.startswith(b"HTTP/1.1 400 ")
        assert b"UTF-8" in got
        assert not script.has_connected()


def test_a_signed_body_is_marked_as_one_that_was_not_asked_for_usage():
    with play(usage_request=USAGE) as script:
        d, u = waiting(script, json_post(extra=b"Signature: x\r\n"))
        answer(u, TEXT % b"", b"[DONE]")
        d.receive()
        assert script.records()[0]["usage_by"] == "unasked"


def test_the_answer_must_come_uncompressed():
    with play(usage_request=USAGE) as script:
        script.downstream().send(json_post(extra=b"Accept-Encoding: gzip, br\r\n"))
        assert b"accept-encoding" not in script.upstream().receive().lower()
    with play(usage_request="nothing") as script:
        script.downstream().send(json_post(extra=b"Accept-Encoding: gzip, br\r\n"))
        assert b"accept-encoding" not in script.upstream().receive().lower()


def test_all_endpoints_of_an_upstream_must_understand_what_is_asked():
    with play(usage_request=RUNNING, endpoints=2) as script:
        script.engine.set_endpoint(1, usage_request=USAGE)
        script.downstream().send(json_post())
        k = 0 if script.has_connected(0) else 1
        _, body = split_head(script.upstream(k).receive())
        assert json.loads(body)["stream_options"] == {"include_usage": True}


# ---------------------------------------------------------------- out of the response


def test_the_caller_sees_no_usage_that_only_the_proxy_requested():
    with play(usage_request=RUNNING) as script:
        d = script.downstream()
        d.send(json_post())
        answer(script.upstream(), TEXT % BESIDE, LAST, b"[DONE]")
        _, body = split_head(d.receive())
        assert unchunk(body) == event(TEXT % b"") + event(b"[DONE]")
        (record,) = script.records()
        assert (record["prompt_tokens"], record["completion_tokens"]) == (3, 9)
        assert (record["exactness"], record["finish"], record["usage_by"]) == (
            "exact", "done", "proxy",
        )  # fmt: skip
        assert record["bytes_out"] == len(unchunk(body))


def test_a_caller_who_asked_keeps_the_last_usage_and_sees_none_beside_choices():
    with play(usage_request=RUNNING) as script:
        d = script.downstream()
        d.send(json_post(b'{"stream":true,"stream_options":{"include_usage":true}}'))
        answer(script.upstream(), TEXT % BESIDE, LAST, b"[DONE]")
        _, body = split_head(d.receive())
        assert unchunk(body) == event(TEXT % b"") + event(LAST) + event(b"[DONE]")


RUNNING_ONLY = (
    b'{"continuous_usage_stats":true}',
    b'{"include_usage":false,"continuous_usage_stats":true}',
    b'{"continuous_usage_stats":true,"include_usage":null}',
)


def relayed_usage(usage_request, options):
    """The answer to a request with these stream_options."""
    with play(usage_request=usage_request) as script:
        d, u = connected(script, json_post(b'{"stream_options":%s,"stream":true}' % options))
        assert json.loads(split_head(u.receive())[1])["stream_options"] == BOTH
        answer(u, TEXT % BESIDE, LAST, b"[DONE]")
        return unchunk(split_head(d.receive())[1])


@pytest.mark.parametrize("options", RUNNING_ONLY)
def test_running_usage_that_only_our_question_woke_is_taken_out(options):
    # vLLM sends no running usage to a caller that does not request the closing one.
    assert relayed_usage(RUNNING, options) == event(TEXT % b"") + event(b"[DONE]")


@pytest.mark.parametrize("options", RUNNING_ONLY)
def test_running_usage_that_the_caller_would_get_without_us_is_his(options):
    assert relayed_usage(EITHER_ALONE, options) == event(TEXT % BESIDE) + event(b"[DONE]")


@pytest.mark.parametrize("usage_request", [RUNNING, EITHER_ALONE])
def test_a_caller_who_asked_for_both_gets_both(usage_request):
    options = b'{"continuous_usage_stats":true,"include_usage":true}'
    assert relayed_usage(usage_request, options) == event(TEXT % BESIDE) + event(LAST) + event(
        b"[DONE]"
    )


def test_an_event_in_pieces_is_kept_back_until_it_is_whole():
    whole = b"".join(event(p) for p in (TEXT % BESIDE, LAST, b"[DONE]"))
    for k in range(1, len(whole)):
        with play(usage_request=RUNNING) as script:
            d, u = connected(script, json_post())
            u.send(SSE_HEAD + chunk(whole[:k]))
            u.send(chunk(whole[k:]) + b"0\r\n\r\n")
            _, body = split_head(d.receive())
            assert unchunk(body) == event(TEXT % b"") + event(b"[DONE]"), k


def test_an_answer_without_a_length_loses_nothing_at_its_end():
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    with play(usage_request=RUNNING) as script:
        d, u = waiting(script, json_post())
        u.send(head + event(TEXT % BESIDE) + b"data: [DONE]")
        u.close()
        _, body = split_head(d.receive())
        assert unchunk(body) == event(TEXT % b"") + b"data: [DONE]"
        assert script.outcome() == "ok"


def test_an_answer_with_a_length_is_stripped_too():
    body = event(TEXT % BESIDE) + event(LAST) + event(b"[DONE]")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n"
    for version, ends in ((b"1.1", b"0\r\n\r\n"), (b"1.0", b"")):
        with play(usage_request=RUNNING) as script:
            d, u = waiting(
                script,
                json_post(extra=b"Connection: keep-alive\r\n").replace(
                    b"HTTP/1.1", b"HTTP/" + version
                ),
            )
            u.send(head % len(body) + body)
            got, sent = split_head(d.receive())
            assert b"content-length" not in got.lower()
            assert sent.endswith(ends)
            plain = unchunk(sent) if ends else sent
            assert plain == event(TEXT % b"") + event(b"[DONE]")
            assert script.outcome() == "ok"


def test_an_event_too_long_to_be_held_passes_and_the_next_is_stripped_again():
    long = b'{"choices":[{"index":0,"delta":{"content":"%s"}}]}' % (b"y" * 200_000)
    with play(usage_request=RUNNING) as script:
        d, u = waiting(script, json_post())
        u.send(SSE_HEAD)
        got = d.receive()
        for at in range(0, len(long) + 8, 10_000):
            u.send(chunk(event(long)[at : at + 10_000]))
            got += d.receive()
        u.send(chunk(event(TEXT % BESIDE) + event(LAST)) + b"0\r\n\r\n")
        got += d.receive()
        assert unchunk(split_head(got)[1]) == event(long) + event(TEXT % b"")
        assert script.records()[0]["completion_tokens"] == 9


def test_a_cut_is_exact_and_looks_cut_even_with_an_event_kept_back():
    with play(usage_request=RUNNING) as script:
        d, u = waiting(script, json_post())
        u.send(SSE_HEAD + chunk(event(TEXT % BESIDE) + b'data: {"choices":[{"ind'))
        u.close()
        _, body = split_head(d.receive())
        assert not body.endswith(b"0\r\n\r\n")
        assert unchunk(body).startswith(event(TEXT % b"") + b'data: {"error":')
        (record,) = script.records()
        assert record["outcome"] == "upstream/relaying/closed"
        assert (record["completion_tokens"], record["exactness"]) == (2, "exact")


def test_a_caller_who_leaves_is_counted_exactly():
    with play(usage_request=RUNNING) as script:
        d, u = waiting(script, json_post())
        u.send(SSE_HEAD + chunk(event(TEXT % BESIDE)))
        d.receive()
        d.close()
        (record,) = script.records()
        assert record["outcome"].startswith("downstream/relaying/")
        assert (record["prompt_tokens"], record["completion_tokens"]) == (3, 2)
        assert (record["exactness"], record["finish"]) == ("exact", "cut")
        assert u.is_closed()


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_caller_who_closes_at_done_has_been_served(leave):
    with play() as script:
        d, u = connected(script, json_post())
        u.send(SSE_HEAD + chunk(event(TEXT % b"") + event(LAST) + event(b"[DONE]")))
        d.receive()
        getattr(d, leave)()
        (record,) = script.records()
        assert (record["outcome"], record["finish"]) == ("ok", "done")


def test_a_caller_that_closes_at_done_of_a_failed_answer_is_recorded_as_one_that_left():
    with play() as script:
        d = script.downstream()
        d.send(json_post())
        script.upstream().send(SSE_HEAD + chunk(event(b'{"error":{"m":1}}') + event(b"[DONE]")))
        d.receive()
        d.close()
        assert script.records()[0]["outcome"].startswith("downstream/relaying/")
