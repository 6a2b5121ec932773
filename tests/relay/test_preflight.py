"""CORS preflights: browsers ask without a key, as they may send none before they have asked."""

import pytest

from tests.support.exchanges import waiting
from tests.support.keys import row, shows
from tests.support.script import get, play

ORIGIN = b"Origin: https://app.test\r\n"
ASKS = b"Access-Control-Request-Method: POST\r\n"
ANSWER = b"HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: *\r\n\r\n"


def options(fields: bytes, path: bytes = b"/v1/chat/completions") -> bytes:
    return b"OPTIONS " + path + b" HTTP/1.1\r\nHost: a.test\r\n" + fields + b"\r\n"


@pytest.fixture
def script():
    with play() as s:
        s.engine.set_keys([row("sk-one", tenant="team", models=("small",))])
        yield s


def test_a_preflight_passes_without_a_key(script):
    d = script.downstream()
    fields = ASKS + ORIGIN + b"Access-Control-Request-Headers: authorization\r\n"
    d.send(options(fields))
    u = script.upstream()
    assert fields in u.receive()
    u.send(ANSWER)
    assert d.receive().startswith(b"HTTP/1.1 204 ")
    (record,) = script.records()
    assert (record["outcome"], record["tenant"]) == ("ok", "")
    assert script.engine.snapshot()["auth"]["unknown"] == 0


@pytest.mark.parametrize(
    "request_",
    [
        options(b""),
        options(ORIGIN),
        options(ASKS),
        options(b"Origin:\r\n" + ASKS),
        options(ORIGIN + ASKS + shows("wrong")),
        options(ORIGIN + ASKS + b"x-api-key: wrong\r\n"),
        options(ORIGIN + ASKS + b"Content-Length: 2\r\n") + b"{}",
        options(ORIGIN + ASKS + b"Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n",
        get(extra=ORIGIN + ASKS),
        options(ORIGIN + ASKS).replace(b"OPTIONS", b"HEAD"),
    ],
)
def test_what_is_no_preflight_wants_a_key(script, request_):
    d = script.downstream()
    d.send(request_)
    assert d.receive().startswith(b"HTTP/1.1 401 ")
    assert not script.has_connected()


def test_a_preflight_with_a_key_counts_as_its_keys(script):
    d, u = waiting(script, options(ORIGIN + ASKS + shows("sk-one")))
    u.send(ANSWER)
    d.receive()
    assert script.records()[0]["tenant"] == "team"


def test_a_preflight_is_not_lent_the_upstreams_key():
    with play(api_key="secret") as script:
        script.engine.set_keys([row("sk-one")])
        d = script.downstream()
        d.send(options(ORIGIN + ASKS))
        assert b"secret" not in script.upstream().receive()


def test_where_nobody_needs_a_key_the_upstreams_goes_with_all():
    with play(api_key="secret") as script:
        d = script.downstream()
        d.send(options(ORIGIN + ASKS))
        assert b"Authorization: Bearer secret\r\n" in script.upstream().receive()
