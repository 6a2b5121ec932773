"""Endpoints that refuse to be asked for usage, and requests that cannot be taken back."""

import json
from pathlib import Path

import pytest

from tests.support.editing import (
    ASKS,
    CHUNKED,
    LAST,
    REFUSAL,
    RUNNING,
    TEXT,
    USAGE,
    answer,
    json_post,
    length_of,
    unchunk,
)
from tests.support.exchanges import connected, waiting
from tests.support.script import chunk, event, play, split_head
from tests.support.settings import POOL

# ---------------------------------------------------------------- refusals


def test_a_refused_edit_is_taken_back_once_and_then_remembered():
    with play(usage_request=RUNNING) as script:
        d, u = waiting(script, json_post())
        u.send(REFUSAL)
        u = script.upstream()
        head, body = split_head(u.receive())
        assert json.loads(body) == json.loads(ASKS)
        assert length_of(head) == len(body)
        answer(u, TEXT % b"", b"[DONE]")
        assert d.receive().startswith(b"HTTP/1.1 200 ")
        d.send(json_post())
        _, body = split_head(u.receive())
        assert body == ASKS
        answer(u, TEXT % b"", LAST, b"[DONE]")
        assert event(LAST) in unchunk(split_head(d.receive())[1])
        first, second = script.records()
        assert (first["usage_by"], first["tried"]) == ("refused", 2)
        assert second["usage_by"] == ""


@pytest.mark.parametrize("code", [400, 422])
def test_a_request_that_is_wrong_in_itself_gets_its_answer_and_blames_no_endpoint(code):
    refusal = REFUSAL.replace(b"400", b"%d" % code)
    with play(usage_request=USAGE) as script:
        d = script.downstream()
        d.send(json_post())
        script.upstream().send(refusal)
        u = script.upstream()
        u.receive()
        u.send(refusal)
        assert d.receive().startswith(b"HTTP/1.1 %d " % code)
        d.send(json_post())
        _, body = split_head(u.receive())
        assert "stream_options" in json.loads(body)


def test_an_endpoint_that_took_the_question_is_not_asked_twice():
    with play(usage_request=USAGE) as script:
        d, u = connected(script, json_post())
        answer(u, TEXT % b"", LAST, b"[DONE]")
        d.receive()
        d.send(json_post())
        u.receive()
        u.send(REFUSAL)
        assert d.receive().startswith(b"HTTP/1.1 400 ")
        assert not script.has_connected()


def test_an_edit_in_the_options_is_taken_back_to_what_it_was():
    body = b'{"stream":true,"stream_options":{"include_usage":false}}'
    with play(usage_request=RUNNING) as script:
        script.downstream().send(json_post(body))
        u = script.upstream()
        u.receive()
        u.send(REFUSAL)
        _, sent = split_head(script.upstream().receive())
        assert json.loads(sent) == json.loads(body)


def test_a_chunked_request_is_taken_back_too():
    with play(usage_request=RUNNING) as script:
        script.downstream().send(CHUNKED + chunk(ASKS) + b"0\r\n\r\n")
        u = script.upstream()
        u.receive()
        u.send(REFUSAL)
        _, sent = split_head(script.upstream().receive())
        assert json.loads(unchunk(sent)) == json.loads(ASKS)


def test_an_endpoint_that_no_warm_conn_reached_may_be_another_one_now():
    with play(usage_request=USAGE, prewarm=1) as script:
        d, u = script.downstream(), script.upstream()
        where = Path(script.sources[0].getsockname())
        away = where.rename(where.with_suffix(".away"))
        d.send(json_post())
        answer(u, TEXT % b"", LAST, b"[DONE]")
        d.receive()
        u.close()
        script.wait()
        away.rename(where)
        script.engine.set_pool(0, settings=POOL)
        d.send(json_post())
        script.upstream().send(REFUSAL)
        _, body = split_head(script.upstream().receive())
        assert json.loads(body) == json.loads(ASKS)


# ---------------------------------------------------------------- what cannot be held


LARGE = b'{"stream":true,"prompt":"%s"}' % (b"p" * 300_000)


def upload(d, u, data):
    """Send it piece by piece; what went upstream."""
    got = u.receive()
    for at in range(0, len(data), 30_000):
        d.send(data[at : at + 30_000])
        got += u.receive()
    return split_head(got + u.receive())


def test_a_request_too_large_to_be_held_is_edited_only_where_that_is_known_to_be_taken():
    with play(usage_request=USAGE) as script:
        d, u = waiting(script, json_post())
        answer(u, TEXT % b"", LAST, b"[DONE]")
        d.receive()
        d.send(json_post(LARGE)[:1000])
        u = script.upstream()
        head, body = upload(d, u, json_post(LARGE)[1000:])
        assert length_of(head) == len(body)
        assert "stream_options" in json.loads(body)
        answer(u, TEXT % b"", LAST, b"[DONE]")
        _, body = split_head(d.receive())
        assert event(LAST) not in unchunk(body)


def test_a_request_too_large_to_be_held_is_passed_as_it_is_to_an_endpoint_nobody_knows():
    with play(usage_request=USAGE) as script:
        d, u = connected(script, json_post(LARGE)[:1000])
        head, body = upload(d, u, json_post(LARGE)[1000:])
        assert b"".join((head, body)).rstrip(b" ").endswith(LARGE[-1000:])
        assert b"stream_options" not in body
        answer(u, TEXT % b"", b"[DONE]")
        d.receive()
        (record,) = script.records()
        assert (record["usage_by"], record["exactness"]) == ("unasked", "lower_bound")
