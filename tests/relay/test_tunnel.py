"""Upgrades: bytes both ways after a 101 that was asked for, and not a byte before."""

import pytest

from tests.support.exchanges import connected, waiting
from tests.support.script import carry, get, ok, play, post

ASK = get(b"/v1/realtime", b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


@pytest.fixture
def script():
    with play() as s:
        yield s


def open_tunnel(script):
    d, u = connected(script, ASK)
    head = u.receive()
    assert b"Upgrade: websocket\r\n" in head
    assert b"onnection: upgrade\r\n" in head
    u.send(SWITCH)
    assert d.receive().startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    return d, u


def test_bytes_flow_both_ways(script):
    d, u = open_tunnel(script)
    d.send(b"\x81\x05hello")
    assert u.receive() == b"\x81\x05hello"
    u.send(b"\x81\x03bye")
    assert d.receive() == b"\x81\x03bye"


def test_a_half_close_is_passed_on_and_both_end_it(script):
    d, u = open_tunnel(script)
    d.finish()
    assert u.receive() == b""
    assert u.is_closed()
    u.send(b"last words")
    assert d.receive() == b"last words"
    u.finish()
    assert d.is_closed()
    d.close()
    assert script.outcome() == "ok"


def test_a_reset_on_one_side_ends_the_other(script):
    d, u = open_tunnel(script)
    d.reset()
    assert u.is_closed()
    assert script.outcome() == "downstream/tunnel/reset"


def test_early_bytes_are_held_until_the_101(script):
    d, u = connected(script, ASK + b"early")
    assert b"early" not in u.receive()
    u.send(SWITCH)
    assert u.receive() == b"early"
    d.receive()


def test_without_a_101_what_follows_is_http_again(script):
    d, u = waiting(script, ASK)
    u.send(ok(b"no upgrade"))
    assert d.receive().endswith(b"no upgrade")
    d.send(get(b"/next"))
    assert u.receive().startswith(b"GET /next HTTP/1.1\r\n")
    u.send(ok())
    d.receive()


def test_what_was_sent_ahead_of_a_declined_upgrade_is_never_looked_at(script):
    d, u = waiting(script, ASK + get(b"/next"))
    u.send(ok(b"no upgrade"))
    found = d.receive()
    assert found.endswith(b"no upgrade")
    assert b"Connection: close\r\n" in found
    assert d.is_closed()
    assert b"/next" not in u.receive()


def test_backpressure_holds_in_a_tunnel(script):
    d, u = open_tunnel(script)
    data = bytes(k * 13 % 251 for k in range(2_000_000))
    sent = u.send_some(data)
    assert sent < len(data)
    assert carry(u, data[sent:], d) == data


def test_an_idle_tunnel_is_closed():
    with play(limits={"tunnel_idle_timeout": 0.25}) as script:
        d, u = open_tunnel(script)
        script.wait()
        assert d.is_closed()
        assert u.is_closed()


# ---------------------------------------------------------------- what may be switched to


@pytest.mark.parametrize(
    "fields",
    [
        b"Upgrade: foo/2\r\nConnection: Upgrade\r\n",
        b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
        b"Upgrade: websocket, foo\r\nConnection: Upgrade\r\n",
        b"Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n",
        b"Upgrade: websocket, /\r\nConnection: Upgrade\r\n",
        b"Upgrade: websocket/13\r\nConnection: Upgrade\r\n",
        b"Connection: Upgrade\r\n",
        b"Upgrade:\r\nConnection: Upgrade\r\n",
        b"Upgrade: websocket\r\n",
        b"",
    ],
)
def test_a_101_to_anything_but_websocket_is_no_tunnel(script, fields):
    """RFC 9110 7.8: a server switches to an offered protocol, and names it."""
    d, u = waiting(script, ASK)
    u.send(b"HTTP/1.1 101 Switching Protocols\r\n" + fields + b"\r\nraw")
    found = d.receive()
    assert found.startswith(b"HTTP/1.1 502 ")
    assert b"raw" not in found
    assert u.is_closed()
    assert script.outcome() == "upstream/waiting/malformed"


UPGRADES_NOBODY_GETS = [
    post(extra=b"Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n"),
    post(extra=b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    get(extra=b"Connection: Upgrade\r\nUpgrade: foo/2\r\n"),
    get(extra=b"Connection: Upgrade\r\nUpgrade: h2c\r\n"),
    get(extra=b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n") + b"{}",
]


@pytest.mark.parametrize("request_", UPGRADES_NOBODY_GETS)
def test_another_upgrade_is_served_as_if_it_had_not_been_asked_for(script, request_):
    d, u = script.downstream(), None
    for _ in range(2):
        d.send(request_)
        u = u or script.upstream()
        head = u.receive().lower()
        assert b"upgrade" not in head
        u.send(ok(b"plain"))
        found = d.receive()
        assert found.endswith(b"plain")
        # Apache HttpClient asks with every POST, and keeps its conn.
        assert b"Connection: close" not in found


@pytest.mark.parametrize("request_", UPGRADES_NOBODY_GETS)
def test_a_101_to_who_did_not_get_to_ask_is_refused(script, request_):
    d = script.downstream()
    d.send(request_)
    script.upstream().send(SWITCH)
    assert d.receive().startswith(b"HTTP/1.1 502 ")


def test_bytes_behind_an_upgrade_that_is_not_passed_on_are_never_looked_at(script):
    d, u = connected(script, get(extra=b"Connection: Upgrade\r\nUpgrade: foo\r\n") + get(b"/next"))
    assert b"/next" not in u.receive()
    u.send(ok())
    assert b"Connection: close\r\n" in d.receive()
    assert d.is_closed()
    assert b"/next" not in u.receive()
