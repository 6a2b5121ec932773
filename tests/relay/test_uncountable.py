"""Requests that would keep their stream from being counted."""

import time

import pytest

from tests.support.editing import JSON, LAST, TEXT, USAGE, answer, json_post, length_of
from tests.support.keys import row, shows
from tests.support.script import play, post, split_head

ASKED = b'"stream_options":{"include_usage":true}'
DIGESTS = [
    b"ETag: x",
    b"Digest: sha-256=x",
    b"Content-MD5: x",
    b"Repr-Digest: sha-256=:x:",
    b"content-digest: sha-256=:x:",
]
SIGNED = b"Signature: sig=:x:\r\nSignature-Input: sig=()\r\nContent-Digest: sha-256=:x:\r\n"


@pytest.mark.parametrize("line", DIGESTS)
@pytest.mark.parametrize("split", [None, 40])
def test_a_digest_keeps_no_stream_from_being_counted(line, split):
    """R3: one such field, and the stream was not asked for usage."""
    with play(usage_request=USAGE) as script:
        d = script.downstream()
        request = json_post(extra=line + b"\r\n")
        d.send(request[: len(request) - (split or 0)])
        d.send(request[len(request) - (split or 0) :])
        u = script.upstream()
        head, body = split_head(u.receive())
        assert ASKED in body
        assert line.split(b":")[0].lower() not in head.lower()
        answer(u, TEXT % b"", LAST, b"[DONE]")
        d.receive()
        (record,) = script.records()
        assert (record["usage_by"], record["exactness"]) == ("proxy", "exact")


@pytest.mark.parametrize("line", DIGESTS)
def test_a_digest_of_what_stays_as_it_is_stays(line):
    with play(usage_request=USAGE) as script:
        d = script.downstream()
        d.send(json_post(b'{"model":"m"}', extra=line + b"\r\n"))
        head, body = split_head(script.upstream().receive())
        assert body == b'{"model":"m"}'
        assert line.lower() in head.lower()


@pytest.mark.parametrize("extra", [SIGNED, b"X-Amz-Content-SHA256: x\r\n"])
def test_a_signed_body_is_not_touched(extra):
    with play(usage_request=USAGE) as script:
        d = script.downstream()
        d.send(json_post(extra=extra))
        head, body = split_head(script.upstream().receive())
        assert extra.strip() in head
        assert len(body) == length_of(head)
        assert ASKED not in body


def refused(request, status, word, tokens=1000):
    with play(usage_request=USAGE) as script:
        script.engine.set_keys([row("k", tokens=tokens)])
        d = script.downstream()
        d.send(request)
        got = d.receive()
        assert got.startswith(b"HTTP/1.1 %d " % status), got
        assert word in split_head(got)[1]
        assert not script.has_connected()
        d.close()
        (record,) = script.records()
        assert record["outcome"] == "downstream/head/refused"
        return split_head(got)[0]


TWICE = b'{"stream":true,"stream_options":{"include_usage":true},"stream_options":{}}'
MEMBER = b'{"stream":true,"stream_options":{"include_usage":true,"include_usage":false}}'
HIDES = b'{"stream":false,"response_fields":["content"],"n_predict":9}'


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        (json_post(extra=SIGNED + shows("k")), b"Signature"),
        (json_post(extra=b"x-amz-content-sha256: x\r\n" + shows("k")), b"x-amz-content-sha256"),
        (json_post(TWICE, extra=shows("k")), b"stream_options"),
        (json_post(MEMBER, extra=shows("k")), b"stream_options"),
        (json_post(b'{"stream":1,"stream_options":5}', extra=shows("k")), b"stream_options"),
        (json_post(HIDES, b"/completion", shows("k")), b"response_fields"),
        (
            json_post(HIDES.replace(b"_f", b"\\u005ff"), b"/completion", shows("k")),
            b"response_fields",
        ),
    ],
)
def test_under_a_quota_of_tokens_it_is_refused(request_, word):
    """R3: a key of 200 tokens a minute passed 300 and booked 3."""
    refused(request_, 400, word)


@pytest.mark.parametrize("code", [b"gzip", b"zstd", b"identity, gzip"])
def test_under_a_quota_of_tokens_a_compressed_body_is_refused(code):
    extra = b"Content-Encoding: %s\r\n" % code
    head = refused(json_post(b"\x1f\x8b", extra=extra + shows("k")), 415, b"Content-Encoding")
    assert b"Accept-Encoding: identity\r\n" in head


@pytest.mark.parametrize(
    "request_",
    [
        json_post(b'{"model":"m"}', extra=SIGNED + shows("k")),
        json_post(b'{"stream":true,%s}' % ASKED, extra=SIGNED + shows("k")),
        json_post(TWICE.replace(b"true", b"false", 1), extra=shows("k")),
        json_post(b'{"messages":[{"response_fields":1}],"metadata":{"response_fields":1}}',
            extra=shows("k")),
        post(b"/v1/files", b"\x1f\x8b", JSON + b"Content-Encoding: gzip\r\n" + shows("k")),
    ],
)  # fmt: skip
def test_what_is_counted_all_the_same_passes(request_):
    with play(usage_request=USAGE) as script:
        script.engine.set_keys([row("k", tokens=1000)])
        script.downstream().send(request_)
        assert split_head(script.upstream().receive())[1] == split_head(request_)[1]


@pytest.mark.parametrize("body", [TWICE, HIDES])
def test_without_a_quota_nothing_is_refused(body):
    with play(usage_request=USAGE) as script:
        script.engine.set_keys([row("k", requests=9)])
        script.downstream().send(json_post(body, extra=shows("k")))
        assert split_head(script.upstream().receive())[1].startswith(body)


def test_who_asks_himself_under_a_signature_is_on_record():
    with play(usage_request=USAGE) as script:
        d = script.downstream()
        d.send(json_post(b'{"stream":true,%s}' % ASKED, extra=SIGNED))
        u = script.upstream()
        u.receive()
        answer(u, TEXT % b"", LAST, b"[DONE]")
        assert LAST in d.receive()
        assert script.records()[0]["usage_by"] == "caller"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_caller_that_leaves_before_a_count_is_charged_by_time(streamed):
    """A caller that did not stream, or hid the reasoning, and left was charged nothing."""
    with play(usage_request=USAGE) as script:
        script.engine.set_keys([row("k", tokens=100_000)])
        d = script.downstream()
        d.send(json_post(b'{"prompt":"%s","max_tokens":5}' % (b"x" * 400), extra=shows("k")))
        u = script.upstream()
        u.receive()
        if streamed:
            u.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                   b"Transfer-Encoding: chunked\r\n\r\n")  # fmt: skip
            d.receive()
        time.sleep(0.1)
        d.close()
        (record,) = script.records()
        assert record["exactness"] == "uncounted"
        (quota,) = script.engine.quotas()
        # The prompt's letters by four, and ten tokens of a tenth of a second; the bound is lower.
        assert 105 <= quota["used"] <= 400
        assert script.engine.snapshot()["auth"]["quotas"][0]["reserved"] == 0
