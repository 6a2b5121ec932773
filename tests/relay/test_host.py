"""The Host that an endpoint gets: the caller's, its own, or a fixed one."""

import pytest

from tests.relay.test_hedge import both, hedged
from tests.support.exchanges import connected
from tests.support.script import get, ok, play, post
from tests.support.settings import settings

OLD = b"GET /v1/models HTTP/1.0\r\n\r\n"


def field(head: bytes, name: bytes) -> list[bytes]:
    lines = head.split(b"\r\n\r\n")[0].split(b"\r\n")
    return [v for k, _, v in (line.partition(b": ") for line in lines) if k == name]


@pytest.mark.parametrize(
    ("host", "found"),
    [("caller", b"a.test"), ("endpoint", b"up0.test"), ("models.internal", b"models.internal"),
     ("[::1]:11434", b"[::1]:11434")],
)  # fmt: skip
def test_the_endpoint_gets_the_host_that_is_configured(host, found):
    with play(host=host) as script:
        d, u = connected(script, post(body=b"{}"))
        got = u.receive()
        assert got.split(b"\r\n")[1] == b"Host: " + found
        assert field(got, b"X-Forwarded-Host") == [b"a.test"]
        assert got.endswith(b"\r\n\r\n{}")
        u.send(ok())
        assert d.receive().startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("host", ["caller", "endpoint"])
def test_a_caller_without_a_host_gets_that_of_the_endpoint_it_goes_to(host):
    with play(host=host, endpoints=2, balance="round_robin") as script:
        for k in range(2):
            script.downstream().send(OLD)
            assert field(script.upstream(k).receive(), b"Host") == [b"up%d.test" % k]


def test_each_attempt_carries_the_host_of_its_own_endpoint():
    with play(host="endpoint", endpoints=2, balance="round_robin", attempts=2) as script:
        script.refuse(0)
        script.downstream().send(post())
        assert field(script.upstream(1).receive(), b"Host") == [b"up1.test"]
        assert script.engine.snapshot()["upstreams"][0]["endpoints"][0]["connect_failures"] > 0


def test_a_hedge_carries_the_host_of_its_own_endpoint():
    with hedged(host="endpoint") as script:
        d = script.downstream()
        d.send(post(extra=b"Connection: close\r\n"))
        one = script.upstream(0)
        while not script.has_connected(1):
            script.turn()
        two = script.upstream(1)
        assert field(one.receive(), b"Host") == [b"up0.test"]
        assert field(two.receive(), b"Host") == [b"up1.test"]
        d.close()


@pytest.mark.parametrize("size", [60_000, 64_000, 65_300, 70_000])
def test_a_request_that_fills_the_block_comes_whole(size):
    """With the host it is longer than a block."""
    body = b'{"a":"' + b"x" * size + b'"}'
    with play(host="endpoint") as script:
        d, u = connected(script, post(body=body))
        got = u.receive()
        assert field(got, b"Host") == [b"up0.test"]
        assert got.partition(b"\r\n\r\n")[2] == body
        u.send(ok())
        assert d.receive().startswith(b"HTTP/1.1 200 ")


def test_a_reload_changes_the_host_of_requests_that_come():
    with play() as script:
        d, u = connected(script, get())
        assert field(u.receive(), b"Host") == [b"a.test"]
        u.send(ok())
        d.receive()
        script.engine.set_upstream(0, settings=settings(host="b.test:8000"))
        d.send(get())
        assert field(u.receive(), b"Host") == [b"b.test:8000"]


def test_a_hedged_request_without_a_host_of_its_own_is_the_same_twice():
    with hedged(host="b.test") as script:
        d, _, _ = both(script)
        d.close()


@pytest.mark.parametrize("host", ["", "a b", "a\r\nX: 1", "a/b", "::1", "h:99999", "x" * 265])
def test_what_is_no_host_is_refused_and_changes_nothing(host):
    with play() as script:
        with pytest.raises(ValueError, match=r"upstream\.host"):
            script.engine.set_upstream(0, settings=settings(host=host))
        _, u = connected(script, get())
        assert field(u.receive(), b"Host") == [b"a.test"]
