"""Response heads: framing by RFC 9112 6.3, and what an upstream may not send."""

from typing import Any

import pytest

from tests.probes import http1
from tests.support.guarded import at_guard_page
from tests.support.split import TAILS
from tests.support.walk import LIMITS

OK = b"HTTP/1.1 200 OK\r\n"

TAKEN = {
    "plain": (OK + b"\r\n", http1.CLOSE),
    "no reason": (b"HTTP/1.1 200\r\n\r\n", http1.CLOSE),
    "empty reason": (b"HTTP/1.1 200 \r\n\r\n", http1.CLOSE),
    "length": (OK + b"Content-Length: 5\r\n\r\n", http1.LENGTH),
    "chunked": (OK + b"Transfer-Encoding: chunked\r\n\r\n", http1.CHUNKED),
    "no content": (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", http1.NO_BODY),
    "not modified": (b"HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n", http1.NO_BODY),
    "interim": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", http1.NO_BODY),
    "switching": (b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n", http1.NO_BODY),
}

REFUSED = {
    b"\r\nHTTP/1.1 200 OK\r\n": ("status_line", 0),
    b"ICY 200 OK\r\n": ("status_line", 0),
    b"HTTP/1.1  200 OK\r\n": ("status_line", 9),
    b"HTTP/1.1\t200 OK\r\n": ("status_line", 8),
    b"HTTP/2.0 200 OK\r\n": ("version", 5),
    b"HTTP/1.1 20 OK\r\n": ("status_line", 11),
    b"HTTP/1.1 2000 OK\r\n": ("status_line", 12),
    b"HTTP/1.1 099 X\r\n": ("status_line", 9),
    b"HTTP/1.1 600 X\r\n": ("status_line", 9),
    b"HTTP/1.1 200 O\x00K\r\n": ("status_line", 14),
    b"HTTP/1.1 200 OK\n": ("line_end", 15),
    OK + b"X : 1\r\n": ("field_name", 18),
    OK + b" X: 1\r\n": ("field_folded", 17),
}

REFUSED_WHEN_COMPLETE = {
    b"Content-Length: 5\r\nContent-Length: 5": "length",
    b"Content-Length: x": "length",
    b"Content-Length: 1\r\nTransfer-Encoding: chunked": "length_and_coding",
    b"Transfer-Encoding: gzip": "coding_unknown",
    b"Transfer-Encoding: chunked, gzip": "coding",
    b"Transfer-Encoding: ,chunked": "coding",
}


def parse(data: bytes, to_head: bool = False) -> tuple[int, Any]:
    with at_guard_page(data) as part:
        return http1.response_head(part, LIMITS, to_head)


@pytest.mark.parametrize(("data", "framing"), TAKEN.values(), ids=TAKEN.keys())
def test_a_response_head_is_taken_at_its_last_byte(data: bytes, framing: int) -> None:
    for n in range(len(data)):
        assert parse(data[:n]) == (http1.MORE, None)
    for tail in TAILS:
        verdict, head = parse(data + tail)
        assert (verdict, head["consumed"], head["framing"]) == (http1.OK, len(data), framing)
        assert parse(data + tail, True)[1]["framing"] == http1.NO_BODY


@pytest.mark.parametrize(("data", "fault"), REFUSED.items(), ids=map(repr, REFUSED))
def test_a_malformed_response_is_refused_at_its_first_wrong_byte(
    data: bytes, fault: tuple[str, int]
) -> None:
    for n in range(fault[1]):
        assert parse(data[:n])[0] == http1.MORE
    assert parse(data) == (http1.BAD, fault)


@pytest.mark.parametrize(("lines", "fault"), REFUSED_WHEN_COMPLETE.items())
def test_a_response_with_doubtful_framing_is_refused_even_without_a_body(
    lines: bytes, fault: str
) -> None:
    for status in (b"200", b"204", b"304", b"103"):
        for to_head in (False, True):
            verdict, what = parse(b"HTTP/1.1 %b X\r\n%b\r\n\r\n" % (status, lines), to_head)
            assert (verdict, what[0]) == (http1.BAD, fault)


def test_chunked_needs_http_1_1_and_a_status_with_a_body() -> None:
    coding = b"Transfer-Encoding: chunked\r\n\r\n"
    assert parse(b"HTTP/1.0 200 OK\r\n" + coding)[1][0] == "coding"
    assert parse(b"HTTP/1.1 204 OK\r\n" + coding)[1][0] == "coding"
    assert parse(b"HTTP/1.1 100 OK\r\n" + coding)[1][0] == "coding"
    assert parse(b"HTTP/1.1 304 OK\r\n" + coding)[1]["framing"] == http1.NO_BODY


def test_status_and_reason_are_found() -> None:
    head = parse(b"HTTP/1.1 418 Short and \xc3\xa9\r\n\r\n")[1]
    assert (head["status"], head["reason"]) == (418, b"Short and \xc3\xa9")


def test_an_old_response_closes_unless_it_says_otherwise() -> None:
    assert parse(b"HTTP/1.0 200 OK\r\n\r\n")[1]["asks_close"]
    assert not parse(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n")[1]["asks_close"]
    assert not parse(OK + b"\r\n")[1]["asks_close"]
    assert parse(OK + b"Connection: close\r\n\r\n")[1]["asks_close"]


def test_a_connection_option_that_would_unframe_a_response_is_ignored() -> None:
    head = parse(OK + b"Connection: content-length, a b, X\r\nContent-Length: 2\r\nX: 1\r\n\r\n")[1]
    assert head["nominated"] == [2]
    assert head["framing"] == http1.LENGTH


@pytest.mark.parametrize(
    ("fields", "upgrade"),
    [
        (b"Connection: upgrade\r\nUpgrade: websocket\r\n", "websocket"),
        (b"Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n", "websocket"),
        (b"Connection: upgrade\r\nUpgrade: foo/2\r\n", "ignored"),
        (b"Connection: upgrade\r\nUpgrade: websocket, foo/2\r\n", "ignored"),
        (b"Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: foo\r\n", "ignored"),
        (b"Connection: upgrade\r\nUpgrade: websocket/13\r\n", "ignored"),
        (b"Connection: upgrade\r\nUpgrade: h2c\r\n", "none"),
        (b"Connection: upgrade\r\n", "none"),
        (b"Connection: upgrade\r\nUpgrade:\r\n", "none"),
        (b"Upgrade: websocket\r\n", "none"),
    ],
)
def test_a_switch_leads_to_websocket_or_is_none(fields: bytes, upgrade: str) -> None:
    none, ignored, websocket = http1.UPGRADES
    meant = {"none": none, "ignored": ignored, "websocket": websocket}[upgrade]
    head = parse(b"HTTP/1.1 101 Switching Protocols\r\n" + fields + b"\r\n")[1]
    assert head["upgrade"] == meant
