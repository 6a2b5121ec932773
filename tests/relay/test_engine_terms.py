"""Parts of the caller's key that an engine gets: its priority, and a cache_salt."""

import base64
import hashlib
import hmac
import json

import pytest

from tests.support.editing import CHUNKED, form, json_post, length_of, unchunk
from tests.support.exchanges import waiting
from tests.support.keys import digest, row, shows
from tests.support.script import change, chunk, get, ok, play, split_head
from tests.support.split import every_way

KEY = shows("k")
CHAT = b"/v1/chat/completions"
SECRET = b"a secret of sixteen bytes"


def sent(script, request):
    d, u = script.downstream(), None
    d.send(request)
    u = script.upstream()
    head, body = split_head(u.receive())
    u.send(ok(extra=b"Connection: close\r\n"))
    assert b"ok" in split_head(d.receive())[1]
    d.close()
    u.close()
    return head, body


# ---------------------------------------------------------------- priority


@pytest.mark.parametrize(
    ("engine", "priority", "line"),
    [
        ("vllm", 0, b"x-vllm-priority: -5\r\n"),
        ("vllm", 4, b"x-vllm-priority: -1\r\n"),
        ("vllm", 5, b""),
        ("vllm", 6, b"x-vllm-priority: 1\r\n"),
        ("vllm", 9, b"x-vllm-priority: 4\r\n"),
        ("sglang", 0, b"x-override-priority: 5\r\n"),
        ("sglang", 5, b""),
        ("sglang", 9, b"x-override-priority: -4\r\n"),
        ("off", 0, b""),
    ],
)
def test_the_engine_gets_the_priority_of_the_key(engine, priority, line):
    with play(priority_field=engine) as script:
        script.engine.set_keys([row("k", priority=priority)])
        head, _ = sent(script, json_post(b"{}", CHAT, KEY))
        assert head.lower().count(b"priority") == bool(line)
        assert line in head


def test_a_caller_sets_no_priority_of_its_own():
    theirs = b"X-Vllm-Priority: -99\r\nX-VLLM-PRIORITY: 1\r\nx-override-priority: 7\r\n"
    with play(priority_field="vllm") as script:
        script.engine.set_keys([row("k", priority=9), row("l")])
        head, _ = sent(script, json_post(b"{}", CHAT, KEY + theirs))
        assert head.lower().count(b"x-vllm-priority") == 1 and b"x-vllm-priority: 4\r\n" in head
        assert b"x-override-priority: 7\r\n" in head
        head, _ = sent(script, json_post(b"{}", CHAT, shows("l") + theirs))
        assert b"x-vllm-priority" not in head.lower()
        script.engine.set_keys(None)
        assert b": -99" not in sent(script, json_post(b"{}", CHAT, theirs))[0]
        change(script, priority_field="off")
        assert b"X-Vllm-Priority: -99\r\n" in sent(script, json_post(b"{}", CHAT, theirs))[0]


# ---------------------------------------------------------------- cache_salt


def salt(whose):
    found = base64.urlsafe_b64encode(hmac.new(SECRET, whose, hashlib.sha256).digest())
    return found.rstrip(b"=").decode()


def play_salted(by="tenant", **keys):
    return play(cache_salt=by, **keys)


def admits(script, **terms):
    keys = [row("k", tenant="a", **terms), row("l", tenant="a"), row("m", tenant="b")]
    script.engine.set_keys(keys, salt_secret=SECRET)


@pytest.mark.parametrize(
    "path", [CHAT, b"/v1/completions", b"/v1/responses", b"/v1/messages", b"/v1/embeddings",
             b"/pooling", b"/inference/v1/generate"],
)  # fmt: skip
def test_the_salt_is_that_of_the_tenant(path):
    with play_salted() as script:
        admits(script)
        found = []
        for key in ("k", "l", "m"):
            head, body = sent(script, json_post(b'{"model":"m-1"}', path, shows(key)))
            assert length_of(head) == len(body)
            found.append(json.loads(body))
        salts = [salt(b"tenant:a"), salt(b"tenant:a"), salt(b"tenant:b")]
        assert found == [{"model": "m-1", "cache_salt": each} for each in salts]
        assert len(salts[0]) == 43


def test_the_salt_is_that_of_the_key():
    with play_salted("key") as script:
        admits(script)
        found = [json.loads(sent(script, json_post(b"{}", CHAT, shows(k)))[1]) for k in ("k", "l")]
        assert found == [{"cache_salt": salt(b"key:" + digest(k))} for k in ("k", "l")]


@pytest.mark.parametrize(
    "body",
    [
        b'{"cache_salt":"x"}', b'{"cache_salt":null}', b'{"messages":[],"cache_salt":""}',
        b'{"cache\\u005fsalt":"x"}', b'{"Cache_Salt":"x"}', b'{"a":{},"cache_salt":{"a":1}}',
    ],
)  # fmt: skip
def test_a_salt_of_the_caller_is_refused(body):
    with play_salted() as script:
        admits(script)
        d = script.downstream()
        d.send(json_post(body, CHAT, KEY))
        head, answer = split_head(d.receive())
        assert head.startswith(b"HTTP/1.1 400 ") and not script.has_connected()
        assert json.loads(answer)["error"]["message"].startswith("cache_salt is set here")
        assert script.engine.key_terms()[0]["refused"] == {"cache_salt": 1}


def test_one_below_the_root_is_no_salt():
    with play_salted() as script:
        admits(script)
        body = b'{"metadata":{"cache_salt":"x"},"messages":[{"cache_salt":"y"}]}'
        found = json.loads(sent(script, json_post(body, CHAT, KEY))[1])
        assert found == json.loads(body) | {"cache_salt": salt(b"tenant:a")}


@pytest.mark.parametrize(
    ("body", "extra", "status"),
    [
        (b"{}", b"Content-Encoding: gzip\r\n", b"400"),
        (b'\xef\xbb\xbf{"a":1}', b"", b"400"),
        (b"[1]", b"", b"400"),
    ],
)
def test_a_body_that_takes_no_salt_is_refused(body, extra, status):
    with play_salted() as script:
        admits(script)
        d = script.downstream()
        d.send(json_post(body, CHAT, KEY + extra))
        assert d.receive().startswith(b"HTTP/1.1 " + status)
        assert not script.has_connected()


def test_forms_and_other_paths_have_none():
    with play_salted() as script:
        admits(script)
        d, u = waiting(script, form(b"whisper", extra=KEY))
        u.send(ok())
        assert d.receive().endswith(b"ok")
        d.send(get(extra=KEY))
        assert u.receive().startswith(b"GET ")
        assert sent(script, json_post(b'{"a":1}', b"/tokenize", KEY))[1] == b'{"a":1}'


def test_an_upstream_without_it_gets_no_salt_and_passes_a_callers():
    with play() as script:
        admits(script)
        body = b'{"cache_salt":"theirs"}'
        assert sent(script, json_post(body, CHAT, KEY))[1] == body


def test_a_reload_changes_the_secret():
    with play_salted() as script:
        admits(script)
        first = sent(script, json_post(b"{}", CHAT, KEY))[1]
        script.engine.set_keys([row("k", tenant="a")], salt_secret=b"another secret of this proxy")
        second = sent(script, json_post(b"{}", CHAT, KEY))[1]
        assert first != second and len(first) == len(second)


@pytest.mark.parametrize("usage", ["nothing", "running"])
@pytest.mark.parametrize("how", ["length", "chunked"])
@pytest.mark.parametrize(
    "body", [b'{"stream":true,"max_tokens":5000}', b"{}", b' { "n" : 1 } ', b'{"stream":true}\n']
)
def test_salt_bound_and_usage_at_every_split(body, how, usage):
    with play_salted(usage_request=usage) as script:
        admits(script, max_tokens=100, n=1)
        for parts in every_way(body):
            d = script.downstream()
            if how == "length":
                d.send(json_post(body, CHAT, KEY)[: -len(body)])
            else:
                d.send(CHUNKED.replace(b"Host: a\r\n", b"Host: a\r\n" + KEY))
            for part in parts:
                d.send(part if how == "length" else chunk(part))
            if how == "chunked":
                d.send(b"0\r\n\r\n")
            u = script.upstream()
            head, got = split_head(u.receive())
            found = json.loads(got if how == "length" else unchunk(got))
            found.pop("stream_options", None)
            want = json.loads(body) | {"max_tokens": 100, "cache_salt": salt(b"tenant:a")}
            assert found == want, parts
            assert how == "chunked" or length_of(head) == len(got)
            u.send(ok(extra=b"Connection: close\r\n"))
            assert b"ok" in split_head(d.receive())[1]
            d.close()
            u.close()
