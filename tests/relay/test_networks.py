"""Networks that callers may come from: of a listener, and of a key."""

import contextlib
import socket

import pytest
from msgspec.structs import replace

from tests.relay.test_keys import json_answer
from tests.support.keys import row, shows
from tests.support.listeners import Listening, both_families, tcp, unix
from tests.support.script import get, ok, play, post
from zeroproxy.config.cors import Cors
from zeroproxy.config.networks import parse_network

MINE = ("127.0.0.0/8",)
OTHERS = ("10.0.0.0/8", "2001:db8::/32")


def reaches(script, d, request=None):
    """True if the request is served; else it must have been refused, unseen by the endpoint."""
    d.send(request or get())
    if script.has_connected():
        u = script.upstream()
        u.receive()
        u.send(ok(extra=b"Connection: close\r\n"))
        assert d.receive().startswith(b"HTTP/1.1 200 ")
        return True
    status, _, body = json_answer(d)
    assert status == 403
    assert "address" in body["error"]["message"]
    assert d.is_closed()
    return False


@pytest.mark.parametrize(
    ("allowed", "source", "passes"),
    [
        ((), "127.0.0.1", True),
        (("127.0.0.1",), "127.0.0.1", True),
        (("127.0.0.1",), "127.0.0.2", False),
        (("127.0.0.2/31",), "127.0.0.3", True),
        (("127.0.0.2/31",), "127.0.0.4", False),
        (("127.128.0.0/9",), "127.0.0.1", False),
        (("0.0.0.0/0",), "127.9.9.9", True),
        (("::ffff:127.0.0.0/104",), "127.0.0.1", True),
        (("::/0",), "127.0.0.1", False),
        (OTHERS, "127.0.0.1", False),
        ((*OTHERS, *MINE), "127.0.0.1", True),
        (("unix",), "127.0.0.1", False),
    ],
)
def test_a_listener_serves_its_networks_and_no_others(allowed, source, passes):
    for make in (tcp, both_families):
        with contextlib.closing(make()) as sock, play() as script:
            listening = Listening(script, sock, allow_from=allowed)
            assert reaches(script, listening.connect(source)) is passes


@pytest.mark.parametrize(
    ("allowed", "passes"),
    [(("::1",), True), (("::/0",), True), (("::/127",), True), (("0.0.0.0/0",), False),
     (("::2/127",), False), (("::ffff:0:0/96",), False), (("127.0.0.1",), False)],
)  # fmt: skip
def test_ipv6_callers_are_in_networks_of_ipv6(allowed, passes):
    with contextlib.closing(both_families()) as sock, play() as script:
        assert reaches(script, Listening(script, sock, allow_from=allowed).connect("::1")) is passes


@pytest.mark.parametrize(("allowed", "passes"), [((), 1), (("unix",), 1), (("::/0", *MINE), 0)])
def test_callers_on_a_unix_socket_have_a_network_of_their_own(allowed, passes):
    with unix() as sock, contextlib.closing(sock), play() as script:
        assert reaches(script, Listening(script, sock, allow_from=allowed).connect()) == passes


def test_a_mapped_address_is_shown_as_ipv4():
    with contextlib.closing(both_families()) as sock, play() as script:
        d = Listening(script, sock).connect("127.0.0.3")
        d.send(get())
        u = script.upstream()
        assert b"X-Forwarded-For: 127.0.0.3\r\n" in u.receive()
        u.send(ok())
        d.receive()
        assert [r["caller"] for r in script.records()] == ["127.0.0.3"]


@pytest.mark.parametrize(
    ("path", "shape"),
    [(b"/v1/chat/completions", ("error", "code", "address_not_allowed")),
     (b"/v1/messages", ("error", "type", "permission_error"))],
)  # fmt: skip
def test_a_refusal_is_in_the_callers_dialect_and_has_an_outcome_of_its_own(path, shape):
    with contextlib.closing(tcp()) as sock, play() as script:
        d = Listening(script, sock, allow_from=OTHERS).connect()
        d.send(post(path))
        status, _, body = json_answer(d)
        assert status == 403
        assert body[shape[0]][shape[1]] == shape[2]
        assert [r["outcome"] for r in script.records()] == ["downstream/head/network"]


def test_each_request_of_a_barred_conn_is_refused_whatever_its_key():
    with contextlib.closing(tcp()) as sock, play() as script:
        script.engine.set_keys([row("k")])
        listening = Listening(script, sock, allow_from=OTHERS)
        assert not reaches(script, listening.connect(), get(extra=shows("k")))
        assert [r["tenant"] for r in script.records()] == [""]


@pytest.mark.parametrize(("allowed", "passes"), [((), True), (MINE, True), (OTHERS, False)])
def test_a_listener_that_takes_the_place_of_another_has_its_own_networks(allowed, passes):
    with contextlib.closing(tcp()) as old, contextlib.closing(tcp()) as new, play() as script:
        Listening(script, old, allow_from=OTHERS, proxy_from=OTHERS)
        script.engine.stop_listening()
        assert reaches(script, Listening(script, new, allow_from=allowed).connect()) is passes


def test_a_preflight_from_elsewhere_is_refused_even_with_cors():
    asks = b"Origin: https://app.test\r\nAccess-Control-Request-Method: POST\r\n"
    preflight = b"OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: a.test\r\n" + asks + b"\r\n"
    with contextlib.closing(tcp()) as sock, contextlib.closing(tcp()) as other, play() as script:
        script.engine.set_cors(Cors(origins=("https://app.test",)))
        assert not reaches(script, Listening(script, sock, allow_from=OTHERS).connect(), preflight)
        d = Listening(script, other, allow_from=MINE).connect()
        d.send(preflight)
        assert d.receive().startswith(b"HTTP/1.1 204 ")


# ---------------------------------------------------------------- keys


def key(*networks):
    return replace(row("k", requests=5), allow_from=networks)


def test_a_key_is_good_in_its_networks_only():
    with contextlib.closing(both_families()) as sock, play() as script:
        listening = Listening(script, sock)
        script.engine.set_keys([key("127.0.0.2", "::1"), row("free")])
        for source, passes in (("127.0.0.2", True), ("127.0.0.3", False), ("::1", True)):
            assert reaches(script, listening.connect(source), get(extra=shows("k"))) is passes
        assert reaches(script, listening.connect("127.0.0.3"), get(extra=shows("free")))
        (quota,) = script.engine.quotas()
        assert quota["used"] == 2, "a refused request costs nothing"


def test_a_reload_changes_the_networks_of_a_key_and_nothing_else_of_it():
    with contextlib.closing(tcp()) as sock, play() as script:
        listening = Listening(script, sock)
        script.engine.set_keys([key()])
        assert reaches(script, listening.connect(), get(extra=shows("k")))
        for networks, passes in ((OTHERS, False), (MINE, True), (("unix",), False), ((), True)):
            script.engine.set_keys([key(*networks)])
            assert reaches(script, listening.connect(), get(extra=shows("k"))) is passes
        assert script.engine.quotas()[0]["used"] == 3


@pytest.mark.parametrize("bad", ["", "10.0.0.1/8", "10.0.0.0/33", "a", "::/129", "1.2.3", "UNIX"])
def test_what_is_no_network_is_refused_and_named(bad):
    with contextlib.closing(tcp()) as sock, play() as script:
        with pytest.raises(ValueError, match=r"key\.allow_from: .* is no network"):
            script.engine.set_keys([key(bad)])
        for name in ("allow_from", "proxy_from"):
            with pytest.raises(ValueError, match=rf"{name}: .* is no network"):
                script.engine.listen(sock.fileno(), **{name: (bad,)})
            with pytest.raises(TypeError, match=name):
                script.engine.listen(sock.fileno(), **{name: [bad]})
        d = script.downstream()
        assert reaches(script, d)


def test_a_mapped_network_is_the_ipv4_network():
    assert str(parse_network("::ffff:10.0.0.0/104")) == "10.0.0.0/8"
    assert str(parse_network("::ffff:10.1.2.3")) == "10.1.2.3/32"
    assert str(parse_network("::/0")) == "::/0"
    assert socket.has_ipv6
