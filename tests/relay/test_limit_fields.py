"""Fields of an answer that show what is left of a key's quotas (auth.headers)."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.editing import json_post
from tests.support.exchanges import waiting
from tests.support.keys import row, shows
from tests.support.script import SSE_HEAD, chunk, event, get, ok, play, split_head

KEY = shows("k")
CHAT = b"/v1/chat/completions"
OWN = b"x-ratelimit-limit-requests: 9\r\nX-RateLimit-Remaining-Tokens: 9\r\n" \
    b"anthropic-ratelimit-tokens-reset: 9\r\nx-ratelimit: 9\r\n"  # fmt: skip


def fields(head):
    pairs = (line.split(": ", 1) for line in head.decode().split("\r\n")[1:-2])
    return {name.lower(): value for name, value in pairs if "ratelimit" in name.lower()}


def answered(script, request, answer=None):
    d, u = waiting(script, request)
    u.send(ok(extra=b"Connection: close\r\n") if answer is None else answer)
    head, _ = split_head(d.receive())
    d.close()
    u.close()
    return fields(head)


@pytest.fixture
def script():
    with play() as s:
        s.engine.set_keys([row("k", requests=60, tokens=1000), row("free")], headers=True)
        yield s


def test_openai_names(script):
    found = answered(script, json_post(b'{"max_tokens":10}', CHAT, KEY))
    assert re.fullmatch(r"1s|[0-9]+ms", found.pop("x-ratelimit-reset-requests"))
    assert re.fullmatch(r"1?[0-9]s", found.pop("x-ratelimit-reset-tokens"))
    left = int(found.pop("x-ratelimit-remaining-tokens"))
    assert 0 < left < 1000
    assert found == {
        "x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-limit-tokens": "1000",
    }  # fmt: skip


def test_anthropic_names(script):
    found = answered(script, json_post(b'{"max_tokens":10}', b"/v1/messages", KEY))
    now = datetime.now(UTC)
    for which in ("requests", "tokens"):
        reset = datetime.fromisoformat(found.pop(f"anthropic-ratelimit-{which}-reset"))
        assert now - timedelta(seconds=5) < reset < now + timedelta(seconds=65)
    assert found.pop("anthropic-ratelimit-requests-remaining") == "59"
    assert int(found.pop("anthropic-ratelimit-tokens-remaining")) < 1000
    assert found == {
        "anthropic-ratelimit-requests-limit": "60", "anthropic-ratelimit-tokens-limit": "1000",
    }  # fmt: skip


def test_fields_of_the_server_are_replaced(script):
    found = answered(script, json_post(b"{}", CHAT, KEY), ok(extra=OWN + b"Connection: close\r\n"))
    assert found.pop("x-ratelimit") == "9"
    assert "9" not in found.values() and "anthropic-ratelimit-tokens-reset" not in found
    assert len(found) == 6


def test_those_of_the_server_stay_where_the_key_has_no_quota(script):
    request = json_post(b"{}", CHAT, shows("free"))
    found = answered(script, request, ok(extra=OWN + b"Connection: close\r\n"))
    assert set(found.values()) == {"9"} and len(found) == 4


def test_without_the_switch_nothing_is_shown():
    with play() as script:
        script.engine.set_keys([row("k", requests=60)])
        assert answered(script, json_post(b"{}", CHAT, KEY)) == {}
        found = answered(
            script, json_post(b"{}", CHAT, KEY), ok(extra=OWN + b"Connection: close\r\n")
        )
        assert len(found) == 4


def test_a_stream_has_them_in_its_head(script):
    stream = SSE_HEAD + chunk(event()) + b"0\r\n\r\n"
    assert len(answered(script, json_post(b'{"stream":true}', CHAT, KEY), stream)) == 6


def test_a_429_has_them_too_and_an_unknown_key_none():
    with play() as script:
        script.engine.set_keys([row("k", requests=1)], headers=True)
        answered(script, get(extra=KEY))
        d = script.downstream()
        d.send(get(extra=KEY))
        head, _ = split_head(d.receive())
        assert head.startswith(b"HTTP/1.1 429 ") and b"Retry-After: " in head
        found = fields(head)
        assert found["x-ratelimit-remaining-requests"] == "0"
        assert re.fullmatch(r"1m0s|[0-9]+s", found["x-ratelimit-reset-requests"])
        d = script.downstream()
        d.send(get(extra=shows("who")))
        assert fields(split_head(d.receive())[0]) == {}


def test_a_debt_is_no_number_below_zero():
    with play() as script:
        script.engine.set_keys([row("k", tokens=100)], headers=True)
        usage = b'{"usage":{"prompt_tokens":500,"completion_tokens":500,"total_tokens":1000}}'
        answer = ok(usage, b"Content-Type: application/json\r\nConnection: close\r\n")
        answered(script, json_post(b'{"max_tokens":1}', CHAT, KEY), answer)
        d = script.downstream()
        d.send(json_post(b'{"max_tokens":1}', CHAT, KEY))
        found = fields(split_head(d.receive())[0])
        assert found["x-ratelimit-remaining-tokens"] == "0"
        assert re.fullmatch(r"(9m[0-9]+s|10m0s)", found["x-ratelimit-reset-tokens"])


def test_interim_answers_have_none(script):
    d, u = waiting(script, json_post(b"{}", CHAT, KEY))
    u.send(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
    assert fields(split_head(d.receive())[0]) == {}
    u.send(ok())
    assert len(fields(split_head(d.receive())[0])) == 6
