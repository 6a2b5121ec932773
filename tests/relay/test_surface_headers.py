"""Header fields that an upstream does not get: they control an engine, or replace the path."""

import pytest

from tests.support.exchanges import answered
from tests.support.script import get, ok, play, post
from tests.support.settings import routes
from tests.support.surfaces import INFERENCE, ask, status, surface


@pytest.mark.parametrize(
    "name",
    [
        "X-Vllm-Priority", "x-vllm-priority", "X_VLLM_PRIORITY", "x-Vllm_Priority",
        "X-Data-Parallel-Rank", "X-Override-Priority", "x-override-anything", "X_Override_Rid",
        "X-Prefiller-Host-Port", "X-Encoder-Hosts-Ports", "X-Data-Parallel-Host-Port",
        "X-Gateway-Destination-Endpoint", "X-Gateway-Destination-Endpoint-Served",
        "X-Original-URL", "X-Rewrite-URL", "X-Original-Uri", "X-HTTP-Method-Override",
        "X-Method-Override", "X-HTTP-Method", "Script-Name", "SCRIPT_NAME", "PATH_INFO",
        "X-Forwarded-Path", "X-Forwarded-Prefix", "X-Forwarded-Uri",
    ],
)  # fmt: skip
def test_fields_that_control_an_engine_or_replace_the_path_are_removed(name):
    with play() as script:
        script.engine.set_surfaces([INFERENCE])
        extra = b"%s: /sleep\r\n%s: 2\r\nX-Own: 3\r\n" % (name.encode(), name.encode())
        got = ask(script, post(extra=extra))[1]
        assert name.lower().encode() not in got.lower()
        assert b"X-Own: 3\r\n" in got


@pytest.mark.parametrize(
    "name",
    ["X-Vllm", "X-Vllm-Priority-2", "X-Overrid", "Xx-Vllm-Priority", "X-Original-To", "Path", "X"],
)
def test_others_stay(name):
    with play() as script:
        script.engine.set_surfaces([INFERENCE])
        line = b"%s: 1\r\n" % name.encode()
        assert line in ask(script, post(extra=line))[1]


def test_names_of_ones_own_prefixes_and_exceptions():
    extra = b"X-Team: 1\r\nX-Team-A: 2\r\nX_Team_B: 3\r\nUser-Agent: u\r\nX-T: 4\r\n"
    with play() as script:
        script.engine.set_surfaces(
            [surface(strip=("X-Team-*", "user-agent"), keep=("x-team-a", "x-te*"))]
        )
        got = ask(script, post(extra=extra))[1]
        assert b"User-Agent" not in got
        assert b"X-Team: 1\r\nX-Team-A: 2\r\nX_Team_B: 3\r\nX-T: 4\r\n" in got
        script.engine.set_surfaces([surface(strip=("X-Team-*",), keep=("x-team-a",))])
        got = ask(script, post(extra=extra))[1]
        assert b"X-Team: 1\r\nX-Team-A: 2\r\nUser-Agent: u\r\nX-T: 4\r\n" in got


def test_each_upstream_has_its_own():
    with play(endpoints=2, upstreams=["a", "b"]) as script:
        script.engine.set_routes(routes(("small", 0), ("big", 1)), default=None)
        script.engine.set_surfaces([surface(strip=("x-a-field",)), surface(strip=("x-b-field",))])
        extra = b"X-A-Field: 1\r\nX-B-Field: 2\r\n"
        for at, (model, kept) in enumerate(((b"small", b"X-B-Field"), (b"big", b"X-A-Field"))):
            d = script.downstream()
            d.send(post(body=b'{"model":"%s"}' % model, extra=extra))
            got = script.upstream(at).receive()
            assert got.count(b"-Field") == 1
            assert kept in got


def test_nothing_is_removed_from_what_follows_on_the_conn():
    """A refusal and a removal leave no trace in the next exchange."""
    with play() as script:
        script.engine.set_surfaces([surface("POST /v1/chat/completions", strip=("x-team",))])
        d, u = answered(script, post(extra=b"X-Team: 1\r\n"))
        d.send(get(b"/sleep"))
        assert status(d.receive()) == 404
        d.send(post())
        assert u.receive().startswith(b"POST ")
        u.send(ok())
        assert status(d.receive()) == 200
