"""Heads as they travel on: what is kept, dropped, rewritten and added."""

from typing import Any

import pytest

from tests.probes import http1
from tests.support.guarded import at_guard_page
from tests.support.walk import LIMITS

ID = b"0123456789abcdef"
TRACE = b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01"
OTHER_TRACE = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-00"
HOP: dict[str, Any] = {"peer": b"10.0.0.9", "request_id": ID, "traceparent": TRACE}


def up(fields: bytes = b"", start: bytes = b"GET /p HTTP/1.1", **hop: Any) -> list[bytes]:
    """Lines of the request head as it goes upstream."""
    host = b"" if b"1.0" in start else b"Host: a.test\r\n"
    with at_guard_page(start + b"\r\n" + host + fields + b"\r\n") as part:
        out = http1.rewrite_request(part, LIMITS, {**HOP, **hop})
    assert out is not None
    assert out.endswith(b"\r\n\r\n")
    assert http1.request_head(out, LIMITS)[0] == http1.OK
    lines: list[bytes] = out.split(b"\r\n")[:-2]
    return lines


def down(fields: bytes = b"", start: bytes = b"HTTP/1.1 200 OK", **back: Any) -> list[bytes]:
    to_head = back.pop("to_head", False)
    with at_guard_page(start + b"\r\n" + fields + b"\r\n") as part:
        out = http1.rewrite_response(part, LIMITS, to_head, back)
    assert out is not None
    assert http1.response_head(out, LIMITS, to_head)[0] == http1.OK
    lines: list[bytes] = out.split(b"\r\n")[:-2]
    return lines


def named(lines: list[bytes], name: bytes) -> list[bytes]:
    return [v for k, _, v in (x.partition(b": ") for x in lines) if k.lower() == name.lower()]


def test_a_plain_request_goes_up_with_host_first_and_our_lines_last() -> None:
    assert up(b"X-A: 1\r\nx-b:2 \r\nX-A:  3\r\n") == [
        b"GET /p HTTP/1.1",
        b"Host: a.test",
        b"X-A: 1",
        b"x-b: 2",
        b"X-A: 3",
        b"X-Forwarded-For: 10.0.0.9",
        b"X-Forwarded-Proto: http",
        b"X-Forwarded-Host: a.test",
        b"X-Request-Id: " + ID,
        b"traceparent: " + TRACE,
    ]


@pytest.mark.parametrize(
    ("start", "line", "host"),
    [
        (b"GET http://b.test:81/x?y HTTP/1.1", b"GET /x?y HTTP/1.1", b"b.test:81"),
        (b"GET http://b.test HTTP/1.1", b"GET / HTTP/1.1", b"b.test"),
        (b"GET http://b.test?q=1 HTTP/1.1", b"GET /?q=1 HTTP/1.1", b"b.test"),
        (b"OPTIONS http://b.test HTTP/1.1", b"OPTIONS * HTTP/1.1", b"b.test"),
        (b"OPTIONS * HTTP/1.1", b"OPTIONS * HTTP/1.1", b"a.test"),
        (b"GET /a/../%2e//b? HTTP/1.1", b"GET /a/../%2e//b? HTTP/1.1", b"a.test"),
        (b"BREW /x HTTP/1.0", b"BREW /x HTTP/1.1", b"endpoint.test"),
    ],
)
def test_the_request_line_is_origin_form_and_host_is_the_authority_asked_for(
    start: bytes, line: bytes, host: bytes
) -> None:
    lines = up(start=start)
    assert lines[0] == line
    assert named(lines, b"host") == [host]


@pytest.mark.parametrize(
    "fields",
    [
        b"Connection: keep-alive\r\n",
        b"Keep-Alive: timeout=5\r\n",
        b"Proxy-Connection: keep-alive\r\n",
        b"TE: trailers\r\n",
        b"Trailer: X-T\r\n",
        b"Upgrade: websocket\r\n",
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: x-gone, ,X-Too\r\nX-Gone: 1\r\nx-too: 2\r\n",
    ],
)
def test_what_concerns_one_hop_ends_here(fields: bytes) -> None:
    assert up(fields) == up()


def test_an_upgrade_is_asked_for_anew_without_h2c() -> None:
    lines = up(b"Connection: keep-alive, Upgrade\r\nUpgrade: h2c, WebSocket\r\nUpgrade: a/1\r\n")
    assert named(lines, b"upgrade") == [b"websocket"]
    assert named(lines, b"connection") == [b"upgrade"]


def test_framing_is_written_from_what_we_send() -> None:
    fields = b"Content-Length: 0005\r\n"
    assert named(up(fields, framing=http1.LENGTH, length=5), b"content-length") == [b"5"]
    most = 2**63 - 1
    assert named(up(framing=http1.LENGTH, length=most), b"content-length") == [b"%d" % most]
    lines = up(fields, framing=http1.CHUNKED)
    assert named(lines, b"content-length") == []
    assert named(lines, b"transfer-encoding") == [b"chunked"]
    assert named(up(fields), b"content-length") == []


def test_forwarded_fields_are_replaced_unless_they_are_trusted() -> None:
    fields = (
        b"X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n"
        b"X-Forwarded-Proto: https\r\nX-Forwarded-Host: c.test\r\n"
    )
    assert up(fields) == up()
    lines = up(fields, trusts_forwarded=1)
    assert named(lines, b"x-forwarded-for") == [b"1.1.1.1, 2.2.2.2, 10.0.0.9"]
    assert named(lines, b"x-forwarded-proto") == [b"https"]
    assert named(lines, b"x-forwarded-host") == [b"c.test"]


OF_A_PROXY = (
    b"Forwarded: for=1.1.1.1\r\nX-Real-IP: 1.1.1.1\r\nX-Forwarded-Port: 443\r\n"
    b"X-Forwarded-Prefix: /a\r\nX-Forwarded-Server: s\r\nX-Forwarded-Ssl: on\r\n"
    b"X-Forwarded-Scheme: https\r\nx-forwarded-client-cert: c\r\nX-Forwarded: x\r\n"
)
ALIASES = (
    b"Content_Length: 5\r\nTransfer_Encoding: chunked\r\nX_Forwarded_For: 1.1.1.1\r\n"
    b"X-Forwarded_Proto: https\r\nX_Forwarded_Port: 1\r\nX_Real_IP: 1.1.1.1\r\n"
    b"X_Api_Key: k\r\napi_key: k\r\nContent_Type: text/plain\r\nX_Request_Id: i\r\n"
    b"Keep_Alive: 1\r\nMax_Forwards: 0\r\n"
)


def test_what_only_a_proxy_may_tell_is_dropped_unless_it_is_trusted() -> None:
    assert up(OF_A_PROXY) == up()
    kept = up(OF_A_PROXY, trusts_forwarded=1)
    assert set(OF_A_PROXY.split(b"\r\n")[1:]) - {b""} <= set(kept)
    ours = b'for=10.0.0.9;proto=http;host="a.test"'
    assert named(kept, b"forwarded") == [b"for=1.1.1.1, " + ours]


@pytest.mark.parametrize(
    ("peer", "element"),
    [(b"10.0.0.9", b"for=10.0.0.9"), (b"::1", b'for="[::1]"'), (b"", b"for=unknown")],
)
def test_a_trusted_forwarded_is_extended_by_this_hop(peer: bytes, element: bytes) -> None:
    fields = (
        b'Forwarded: for=192.0.2.1;By="[2001:db8::1]:80" , ;for=_x\r\nForwarded: proto=https\r\n'
    )
    found = named(up(fields, trusts_forwarded=1, peer=peer), b"forwarded")
    assert found == [
        b'for=192.0.2.1;By="[2001:db8::1]:80" , ;for=_x, proto=https, '
        + element + b';proto=http;host="a.test"'
    ]  # fmt: skip
    assert named(up(trusts_forwarded=1), b"forwarded") == []


@pytest.mark.parametrize(
    "value",
    [b'for="1.1.1.1', b'for="a\\"', b"for", b"for=", b"for==a", b"for=[::1]", b"for=a b", b"=a",
     b'for="a"b', b"for=a;;by", b"a=b ; c=d", b'for="\xff', b"for=a,by=\"x"],
)  # fmt: skip
def test_a_forwarded_that_could_swallow_ours_is_dropped_whole(value: bytes) -> None:
    fields = b"Forwarded: for=1.1.1.1\r\nForwarded: " + value + b"\r\n"
    assert up(fields, trusts_forwarded=1) == up(trusts_forwarded=1)


@pytest.mark.parametrize(
    ("value", "kept"),
    [(b"1.1.1.1", 1), (b"2001:db8::1", 1), (b"::ffff:1.2.3.4", 1), (b"1.1.1.1, 2.2.2.2", 0),
     (b"1.1.1.1:80", 0), (b"[::1]", 0), (b"evil", 0), (b"fe80::1%eth0", 0), (b"01.1.1.1", 0),
     (b"1" * 60, 0), (b"", 0)],
)  # fmt: skip
def test_a_trusted_real_ip_is_one_address(value: bytes, kept: int) -> None:
    fields = b"X-Real-IP: " + value + b"\r\n"
    assert named(up(fields, trusts_forwarded=1), b"x-real-ip") == [value] * kept
    two = b"X-Real-IP: 9.9.9.9\r\n" + fields
    assert named(up(two, trusts_forwarded=1), b"x-real-ip") == [b"9.9.9.9"]
    gone = b"Connection: x-real-ip, forwarded\r\nForwarded: for=a\r\n" + fields
    assert up(gone, trusts_forwarded=1) == up(trusts_forwarded=1)


def test_the_host_of_the_endpoint_or_a_fixed_one_replaces_the_callers() -> None:
    lines = up(drops_host=1)
    assert named(lines, b"host") == [b"endpoint.test"]
    assert named(lines, b"x-forwarded-host") == [b"a.test"]
    assert lines[1] == b"Host: endpoint.test"


@pytest.mark.parametrize("trusts", [0, 1])
def test_a_name_of_ours_with_underscores_never_goes_on(trusts: int) -> None:
    """CGI and WSGI servers read both spellings as one."""
    assert up(ALIASES, trusts_forwarded=trusts) == up(trusts_forwarded=trusts)
    assert b"my_header: 1" in up(b"my_header: 1\r\n")


def test_our_address_cannot_be_nominated_away() -> None:
    lines = up(
        b"Connection: X-Forwarded-For, x-request-id\r\nX-Request-Id: theirs\r\n"
        b"X-Forwarded-For: 1.2.3.4\r\n",
        trusts_forwarded=1,
    )
    assert named(lines, b"x-forwarded-for") == [b"10.0.0.9"]
    assert named(lines, b"x-request-id") == [ID]


def test_a_caller_without_an_address_adds_no_line() -> None:
    assert named(up(peer=b""), b"x-forwarded-for") == []
    lines = up(b"X-Forwarded-For: 1.2.3.4\r\n", peer=b"", trusts_forwarded=1)
    assert named(lines, b"x-forwarded-for") == [b"1.2.3.4"]


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        (b"X-Request-Id: theirs\r\n", b"theirs"),
        (b"X-Request-Id: " + b"x" * 128 + b"\r\n", b"x" * 128),
        (b"X-Request-Id: " + b"x" * 129 + b"\r\n", ID),
        (b"X-Request-Id: a b\r\n", ID),
        (b"X-Request-Id: \xc3\xa9\r\n", ID),
        (b"X-Request-Id: \r\n", ID),
        (b"X-Request-Id: a b\r\nX-Request-Id: good\r\nX-Request-Id: late\r\n", b"good"),
    ],
)
def test_one_valid_request_id_is_sent(fields: bytes, sent: bytes) -> None:
    assert named(up(fields), b"x-request-id") == [sent]


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        (OTHER_TRACE, True),
        (OTHER_TRACE.upper(), False),
        (OTHER_TRACE[:-1], False),
        (OTHER_TRACE + b"-x", False),
        (b"01" + OTHER_TRACE[2:] + b"-x", True),
        (b"01" + OTHER_TRACE[2:] + b"x", False),
        (b"ff" + OTHER_TRACE[2:], False),
        (b"00-" + b"0" * 32 + OTHER_TRACE[35:], False),
        (OTHER_TRACE[:36] + b"0" * 16 + b"-00", False),
        (OTHER_TRACE.replace(b"-", b"_"), False),
    ],
)
def test_a_traceparent_is_taken_over_if_it_is_valid_and_alone(value: bytes, valid: bool) -> None:
    with at_guard_page(value) as part:
        assert http1.is_valid_traceparent(part) is valid
    lines = up(b"traceparent: " + value + b"\r\ntracestate: v=1\r\n")
    assert named(lines, b"traceparent") == [value if valid else TRACE]
    assert named(lines, b"tracestate") == ([b"v=1"] if valid else [])
    lines = up(b"traceparent: " + value + b"\r\ntraceparent: " + OTHER_TRACE + b"\r\n")
    assert named(lines, b"traceparent") == [TRACE]


def test_via_is_added_behind_those_that_were_there() -> None:
    lines = up(b"Via: 1.1 x\r\nVia: 1.0 y\r\n", adds_via=1)
    assert named(lines, b"via") == [b"1.1 x", b"1.0 y", b"1.1 zeroproxy"]
    assert named(up(start=b"GET / HTTP/1.0", adds_via=1), b"via") == [b"1.0 zeroproxy"]


def test_max_forwards_counts_down_on_options_only() -> None:
    fields = b"Max-Forwards: 5\r\n"
    assert named(up(fields, b"OPTIONS /p HTTP/1.1"), b"max-forwards") == [b"4"]
    assert named(up(fields), b"max-forwards") == [b"5"]


@pytest.mark.parametrize("name", ["peer", "proto", "authority", "request_id", "traceparent"])
def test_a_span_of_ours_with_a_line_end_is_left_out(name: str) -> None:
    fields = b"" if name != "authority" else b"X: 1\r\n"
    for evil in (b"a\r\nX-Evil: 1", b"a\nb", b"a\x00"):
        host = b"GET / HTTP/1.0\r\n" + fields + b"\r\n"
        out = http1.rewrite_request(host, LIMITS, {**HOP, name: evil})
        assert out is not None
        assert evil not in out
        assert b"Evil" not in out


def test_a_request_head_that_does_not_fit_is_not_cut() -> None:
    data = b"OPTIONS http://b.test HTTP/1.1\r\nHost: a\r\nX: y\r\nMax-Forwards: 9\r\n\r\n"
    hop = {**HOP, "adds_via": 1, "framing": http1.LENGTH, "length": 77}
    whole = http1.rewrite_request(data, LIMITS, hop)
    assert whole is not None
    for cap in range(1, len(whole)):
        assert http1.rewrite_request(data, LIMITS, hop, cap) is None
    assert http1.rewrite_request(data, LIMITS, hop, len(whole)) == whole


def test_a_plain_response_keeps_its_fields_and_gets_an_id() -> None:
    fields = b"Server: orig/1\r\nDate: x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2, c\r\n"
    assert down(fields, framing=http1.CHUNKED, request_id=ID) == [
        b"HTTP/1.1 200 OK",
        *fields.split(b"\r\n")[:-1],
        b"Transfer-Encoding: chunked",
        b"X-Request-Id: " + ID,
    ]


def test_a_response_with_an_id_keeps_it() -> None:
    assert named(down(b"x-request-id: own\r\n", request_id=ID), b"x-request-id") == [b"own"]


def test_hop_fields_of_a_response_end_here() -> None:
    lines = down(
        b"Connection: X-H, keep-alive\r\nX-H: 1\r\nKeep-Alive: timeout=5\r\nTrailer: T\r\n"
        b"X-K: 2\r\n"
        b"Transfer-Encoding: chunked\r\nUpgrade: h2c\r\nProxy-Connection: x\r\n",
        start=b"HTTP/1.1 200 ",
        framing=http1.LENGTH,
        length=3,
    )
    assert lines == [b"HTTP/1.1 200 ", b"X-K: 2", b"Content-Length: 3"]


def test_a_response_to_head_and_a_304_keep_the_length_they_would_have_had() -> None:
    fields = b"Content-Length: 100\r\n"
    assert named(down(fields, to_head=True), b"content-length") == [b"100"]
    assert named(down(fields, b"HTTP/1.1 304 X"), b"content-length") == [b"100"]
    assert named(down(b"", to_head=True, framing=http1.CHUNKED), b"transfer-encoding") == []


@pytest.mark.parametrize("start", [b"HTTP/1.1 204 X", b"HTTP/1.1 103 X", b"HTTP/1.1 100 "])
def test_a_status_without_a_body_has_no_framing(start: bytes) -> None:
    lines = down(b"Content-Length: 5\r\nX: 1\r\n", start, framing=http1.LENGTH, length=5)
    assert lines == [start, b"X: 1"]


def test_the_caller_is_told_what_becomes_of_the_conn() -> None:
    assert named(down(closes=1), b"connection") == [b"close"]
    assert named(down(keeps_alive=1), b"connection") == [b"keep-alive"]
    assert named(down(b"Connection: close\r\n"), b"connection") == []


def test_a_switch_says_what_it_switches_to() -> None:
    fields = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n"
    lines = down(fields, b"HTTP/1.1 101 X", switches=1)
    assert named(lines, b"upgrade") == [b"websocket"]
    assert named(lines, b"connection") == [b"upgrade"]
    lines = down(fields, b"HTTP/1.1 426 X", closes=1)
    assert named(lines, b"upgrade") == [b"websocket"]
    assert named(lines, b"connection") == [b"upgrade, close"]


def test_a_response_head_that_does_not_fit_is_not_cut() -> None:
    data = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n"
    back = {"framing": http1.CHUNKED, "request_id": ID, "closes": 1}
    whole = http1.rewrite_response(data, LIMITS, False, back)
    assert whole is not None
    for cap in range(1, len(whole)):
        assert http1.rewrite_response(data, LIMITS, False, back, cap) is None
    assert http1.rewrite_response(data, LIMITS, False, back, len(whole)) == whole
