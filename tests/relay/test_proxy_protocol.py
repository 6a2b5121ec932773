"""The PROXY protocol, versions 1 and 2, in front of requests: good headers, and attacks."""

import contextlib
import socket
import struct

import pytest

from tests.relay.test_keys import json_answer
from tests.support.listeners import Listening, tcp, unix
from tests.support.script import get, ok, play

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL = "127.0.0.0/8"
V1 = b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 443\r\n"


def v2(family=0x11, body=None, *, command=0x21, tlvs=b"", length=None):
    if body is None:
        body = socket.inet_aton("192.0.2.7") + socket.inet_aton("10.0.0.1")
        body += struct.pack("!HH", 40000, 443)
    body += tlvs
    size = len(body) if length is None else length
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", size) + body


def tlv(kind, value, length=None):
    return struct.pack("!BH", kind, len(value) if length is None else length) + value


V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + bytes(16) + struct.pack("!HH", 1, 2)
UNIX = b"/client".ljust(108, b"\0") + b"/server".ljust(108, b"\0")


@contextlib.contextmanager
def proxied(**keys):
    """(script, listener) that takes the PROXY protocol from loopback."""
    limits = keys.pop("limits", None)
    with contextlib.closing(tcp()) as sock, play(limits=limits) as script:
        yield script, Listening(script, sock, **{"proxy_from": (LOCAL,), **keys})


def served_as(script, d, request=None):
    """The address that the endpoint sees as the caller's; None: there is none."""
    if request is not None:
        d.send(request)
    u = script.upstream()
    lines = u.receive().split(b"\r\n")
    u.send(ok(extra=b"Connection: close\r\n"))
    assert d.receive().startswith(b"HTTP/1.1 200 ")
    found = [line.partition(b": ")[2] for line in lines if line.startswith(b"X-Forwarded-For: ")]
    (caller,) = [r["caller"] for r in script.records()]
    assert (caller or "").encode() == b"".join(found)
    return caller


def halves(data):
    """All of it: its first half, then the first half of the rest, and so on."""
    while data:
        n = len(data) // 2 or 1
        yield data[:n]
        data = data[n:]


def refusals(script):
    return {k: n for k, n in script.engine.snapshot()["proxy_protocol"].items() if n}


GOOD = [
    (V1, "192.0.2.7"),
    (b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n", "2001:db8::7"),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 0 1\r\n", "192.0.2.7"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN 1.1.1.1 2.2.2.2 3 4\r\n", None),
    (b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n", None),
    (v2(), "192.0.2.7"),
    (v2(0x21, V6), "2001:db8::7"),
    (v2(0x31, UNIX), None),
    (v2(0x00, b""), None),
    (v2(0x00, b"\xff" * 9), None),
    (v2(0x00, b"", command=0x20), "127.0.0.1"),
    (v2(command=0x20), "127.0.0.1"),
    (v2(tlvs=tlv(1, b"h2") + tlv(0x20, b"\1\0\0\0\0" + tlv(0x22, b"cn")) + tlv(4, b"")),
     "192.0.2.7"),
    (v2(tlvs=tlv(0xE0, b"x" * 4065)), "192.0.2.7"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "caller"), GOOD)
def test_the_header_names_the_caller(header, caller):
    with proxied() as (script, listening):
        assert served_as(script, listening.connect(), header + get()) == caller
        assert refusals(script) == {}


@pytest.mark.parametrize(("header", "caller"), GOOD)
def test_it_is_the_same_however_it_is_split(header, caller):
    with proxied() as (script, listening):
        d = listening.connect()
        # More segments in a row would wait for an ACK, which the kernel delays.
        d.send_bytewise(header[:18])
        for part in halves(header[18:]):
            d.send(part)
        assert not script.has_connected()
        assert served_as(script, d, get()) == caller


def test_the_conn_serves_more_than_one_request_for_its_caller():
    with proxied() as (script, listening):
        d = listening.connect()
        d.send(V1)
        for _ in range(2):
            d.send(get())
            u = script.upstream()
            assert b"X-Forwarded-For: 192.0.2.7\r\n" in u.receive()
            u.send(ok(extra=b"Connection: close\r\n"))
            assert d.receive().startswith(b"HTTP/1.1 200 ")


BAD = {
    "signature": [
        get(), b"\r\n\r\n\0\r\nQUIT\r", b"PROXz", b"proxy TCP4", b"\x16\x03\x01\x02\0\1\0\1\xfc\3",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 3 4\n", b"GARBAGE", b" PROXY", b"\0" * 16,
    ],
    "version": [v2(command=c) for c in (0x11, 0x22, 0x2F, 0x31, 0x00, 0xFF)],
    "address": [
        b"PROXY TCP4 1.1.1 2.2.2.2 3 4\r\n", b"PROXY TCP4 1.1.1.1 2.2.2.2 3\r\n",
        b"PROXY TCP4 1.1.1.1  2.2.2.2 3 4\r\n", b"PROXY TCP4 1.1.1.1 2.2.2.2 3 4 5\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 3 4 \r\n", b"PROXY TCP4 1.1.1.1 2.2.2.2 3 65536\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 03 4\r\n", b"PROXY TCP4 1.1.1.1 2.2.2.2 -3 4\r\n",
        b"PROXY TCP4 01.1.1.1 2.2.2.2 3 4\r\n", b"PROXY TCP4 ::1 ::1 3 4\r\n",
        b"PROXY TCP6 1.1.1.1 ::1 3 4\r\n", b"PROXY TCP6 fe80::1%lo ::1 3 4\r\n",
        b"PROXY UDP4 1.1.1.1 2.2.2.2 3 4\r\n", b"PROXY \r\n", b"PROXY TCP4\r\n",
        b"PROXY TCP4 \r\n", b"PROXY UNKNOWNX\r\n", b"PROXY tcp4 1.1.1.1 2.2.2.2 3 4\r\n",
        b"PROXY TCP4 1.1.1.1\0 2.2.2.2 3 4\r\n", b"PROXY TCP4 1.1.1.1 2.2.2.2 3 4\r\r\n",
        v2(0x12), v2(0x22, V6), v2(0x32, UNIX), v2(0x13), v2(0x41, V6), v2(0x01, V6),
        v2(0x11, b"\1" * 11), v2(0x21, b"\1" * 35), v2(0x31, b"\1" * 215), v2(0x11, b""),
    ],
    "length": [
        b"PROXY UNKNOWN " + b"f" * 93, b"PROXY TCP4 " + b"1" * 200, v2(length=65535)[:16],
        v2(length=4081)[:16],
    ],
    "tlv": [
        v2(tlvs=tlv(1, b"h2", 3)), v2(tlvs=b"\1"), v2(tlvs=b"\1\0"), v2(tlvs=tlv(4, b"", 65535)),
        v2(tlvs=tlv(1, b"h2") + tlv(2, b"x", 2)), v2(0x21, V6, tlvs=tlv(1, b"", 1)),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "header"), [(reason, one) for reason, all_ in BAD.items() for one in all_]
)
def test_a_bad_header_ends_the_conn_and_is_counted(reason, header):
    with proxied() as (script, listening):
        d = listening.connect()
        d.send(header + (b"" if reason == "length" else get()))
        left = d.receive()
        assert d.is_closed()
        assert not script.has_connected()
        assert refusals(script) == {reason: 1}
        assert script.records() == []
        assert left.startswith(b"HTTP/1.1 400 ") == (reason == "signature")


@pytest.mark.parametrize("header", [V1, v2(), v2(tlvs=tlv(1, b"h2"))])
def test_a_truncated_header_waits_and_its_end_is_counted(header):
    for size in (0, 1, 5, 12, 15, 20, len(header) - 1):
        with proxied() as (script, listening):
            d = listening.connect()
            d.send(header[:size])
            assert not d.is_closed()
            d.finish()
            assert d.is_closed()
            assert refusals(script) == {"closed": 1}


def test_a_peer_that_resets_in_its_header_leaves_nothing():
    with proxied() as (script, listening):
        d = listening.connect()
        d.send(V1[:9])
        d.reset()
        assert refusals(script) == {"closed": 1}


def test_a_header_that_does_not_come_in_time_ends_the_conn():
    with proxied(limits={"header_timeout": 0.05, "idle_timeout": 60.0}) as (script, listening):
        d = listening.connect()
        d.send(V1[:9])
        script.wait()
        assert d.is_closed()
        assert refusals(script) == {"timeout": 1}


@pytest.mark.parametrize("second", [V1, v2(), b"PROXY UNKNOWN\r\n"])
@pytest.mark.parametrize("first", [V1, v2()])
def test_a_second_header_is_no_request(first, second):
    with proxied() as (script, listening):
        d = listening.connect()
        d.send(first + second + get())
        assert json_answer(d)[0] == 400
        assert not script.has_connected()
        assert d.is_closed()


def test_a_stranger_may_not_send_it():
    with proxied(proxy_from=("127.0.0.9", "::1", "unix")) as (script, listening):
        d = listening.connect("127.0.0.8")
        assert d.is_closed()
        assert refusals(script) == {"sender": 1}
        assert served_as(script, listening.connect("127.0.0.9"), V1 + get()) == "192.0.2.7"


@pytest.mark.parametrize("header", [V1, v2()])
def test_where_it_is_not_taken_it_is_no_request(header):
    with play() as script:
        d = script.downstream()
        d.send(header + get())
        assert json_answer(d)[0] == 400
        assert not script.has_connected()


def test_on_a_unix_socket_every_peer_may_send_it():
    with unix() as sock, contextlib.closing(sock), play() as script:
        listening = Listening(script, sock, proxy_from=())
        assert served_as(script, listening.connect(), v2() + get()) == "192.0.2.7"
        assert served_as(script, listening.connect(), v2(command=0x20) + get()) is None


# ---------------------------------------------------------------- with allow_from


@pytest.mark.parametrize(
    ("header", "passes"),
    [(V1, True), (b"PROXY TCP4 192.0.3.7 10.0.0.1 1 2\r\n", False), (b"PROXY UNKNOWN\r\n", False),
     (v2(0x31, UNIX), False), (v2(0x00, b""), False), (v2(0x00, b"", command=0x20), False)],
)  # fmt: skip
def test_the_networks_of_a_listener_are_those_of_the_caller_in_the_header(header, passes):
    allowed = ("192.0.2.0/24", "unix")
    with proxied(allow_from=allowed) as (script, listening):
        d = listening.connect()
        d.send(header + get())
        assert script.has_connected() is passes
        if not passes:
            assert json_answer(d)[0] == 403
            assert [r["outcome"] for r in script.records()] == ["downstream/head/network"]


def test_a_header_alone_is_a_health_check_and_leaves_no_record():
    with proxied() as (script, listening):
        for header in (v2(0x00, b"", command=0x20), V1):
            d = listening.connect()
            d.send(header)
            d.finish()
            assert d.is_closed()
        assert script.records() == []
        assert refusals(script) == {}


def test_a_drain_ends_conns_that_have_sent_nothing_yet():
    with proxied() as (script, listening):
        d = listening.connect()
        script.engine.drain()
        script.wait()
        assert d.is_closed()


def test_the_connection_limit_counts_conns_that_wait_for_their_header():
    with proxied(limits={"connections": 1}) as (script, listening):
        listening.connect()
        assert refusals(script) == {}
        assert listening.connect().receive().startswith(b"HTTP/1.1 503 ")
