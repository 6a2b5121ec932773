"""Request heads: what is taken, what is refused and where, however the bytes were split."""

import pytest

from tests.probes import http1
from tests.support.guarded import at_guard_page
from tests.support.split import TAILS
from tests.support.walk import LIMITS

HOST = b"Host: a.test\r\n"

TAKEN = {
    "plain get": b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
    "http 1.0 without host": b"GET / HTTP/1.0\r\n\r\n",
    "an empty line before it": b"\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n",
    "a post with a length": b"POST /v1/x?a=%20 HTTP/1.1\r\nContent-Length: 5\r\n" + HOST + b"\r\n",
    "chunked in capitals": b"PUT / HTTP/1.1\r\n" + HOST + b"TRANSFER-ENCODING:  CHUNKED \r\n\r\n",
    "an unknown method": b"BREW /pot HTTP/1.1\r\n" + HOST + b"\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute": b"GET HTTP://b.test:81/x?y HTTP/1.1\r\nHost: b.test:81\r\n\r\n",
    "ipv6 host": b"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n",
    "obs-text and tabs in a value": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\t\xc3\xa9\xff b\r\n\r\n",
    "upgrade": b"GET / HTTP/1.1\r\n" + HOST + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "options with hops": b"OPTIONS / HTTP/1.1\r\n" + HOST + b"Max-Forwards: 3\r\n\r\n",
    "expects 100": b"PUT / HTTP/1.1\r\n"
    + HOST
    + b"Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n",
    "percent at the end": b"GET /%2f HTTP/1.1\r\n" + HOST + b"\r\n",
}

REFUSED = {
    b"\x16\x03\x01\x02\x00": ("method", 0),
    b"\x00": ("method", 0),
    b"\nGET / HTTP/1.1\r\n": ("line_end", 0),
    b" GET / HTTP/1.1\r\n": ("method", 0),
    b"\r\n\r\n\r\n\r\n\r\n": ("request_line", 8),
    b"\rG": ("line_end", 1),
    b"GET\t/ HTTP/1.1\r\n": ("request_line", 3),
    b"GET  / HTTP/1.1\r\n": ("target", 4),
    b"GET /\r\n": ("target", 5),
    b"GET / HTTP/1.1 \r\n": ("request_line", 14),
    b"GET / HTTP/2.0\r\n": ("version", 11),
    b"GET / http/1.1\r\n": ("request_line", 6),
    b"GET / HTTP/1.1\n": ("line_end", 14),
    b"GET / HTTP/1.1\rX": ("line_end", 15),
    b"CONNECT a.test:1 HTTP/1.1\r\n": ("method_refused", 0),
    b"TRACE ": ("method_refused", 0),
    b"GET * HTTP/1.1\r\n": ("target", 4),
    b"GET a HTTP/1.1\r\n": ("target", 4),
    b"GET /a#b HTTP/1.1\r\n": ("target", 6),
    b"GET /a\\ HTTP/1.1\r\n": ("target", 6),
    b"GET /\xc3\xa9 HTTP/1.1\r\n": ("target", 5),
    b"GET /%2 HTTP/1.1\r\n": ("target", 5),
    b"GET /%zz HTTP/1.1\r\n": ("target", 5),
    b"GET ftp://a.test/ HTTP/1.1\r\n": ("target", 4),
    b"GET http://u@a.test/ HTTP/1.1\r\n": ("target", 12),
    b"GET http:/// HTTP/1.1\r\n": ("host", 11),
    b"GET / HTTP/1.1\r\n X: 1\r\n": ("field_folded", 16),
    b"GET / HTTP/1.1\r\nX: 1\r\n\tb\r\n": ("field_folded", 22),
    b"GET / HTTP/1.1\r\n: 1\r\n": ("field_name", 16),
    b"GET / HTTP/1.1\r\nX : 1\r\n": ("field_name", 17),
    b"GET / HTTP/1.1\r\nX\r\n": ("field_name", 17),
    b"GET / HTTP/1.1\r\nX: a\x00b\r\n": ("field_value", 20),
    b"GET / HTTP/1.1\r\nX: a\x7fb\r\n": ("field_value", 20),
    b"GET / HTTP/1.1\r\nX: a\nY: b\r\n": ("line_end", 20),
    b"GET / HTTP/1.1\r\nX: a\rb\r\n": ("line_end", 21),
    b"GET / HTTP/1.1\r\n\n": ("line_end", 16),
}


def field(line: bytes, start: bytes = b"POST / HTTP/1.1\r\n") -> bytes:
    return start + HOST + line + b"\r\n\r\n"


REFUSED_WHEN_COMPLETE = {
    b"GET / HTTP/1.1\r\n\r\n": "host",
    field(b"Host: a.test"): "host",
    b"GET / HTTP/1.1\r\nHost: \r\n\r\n": "host",
    b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n": "host",
    field(b"Content-Length: 5, 5"): "length",
    field(b"Content-Length: 5\r\nContent-Length: 5"): "length",
    field(b"Content-Length: +5"): "length",
    field(b"Content-Length:"): "length",
    field(b"Content-Length: 9223372036854775808"): "length",
    field(b"Transfer-Encoding: gzip"): "coding_unknown",
    field(b"Transfer-Encoding: gzip, chunked"): "coding",
    field(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"): "coding",
    field(b"Transfer-Encoding:"): "coding",
    field(b"Transfer-Encoding: chunked", b"POST / HTTP/1.0\r\n"): "coding",
    field(b"Transfer-Encoding: chunked\r\nContent-Length: 0"): "length_and_coding",
    field(b"Connection: close, content-length"): "connection",
    field(b"Connection: Cookie"): "connection",
    field(b"Connection: x-api-key"): "connection",
    field(b"Connection: api-key"): "connection",
    field(b"Connection: a b"): "connection",
    field(b"Connection: " + b"a," * 513): "connection",
    field(b"Expect: 100-continue, x"): "expect",
    field(b"Authorization: a\r\nAuthorization: b"): "duplicate",
    field(b"X-Api-Key: a\r\nX-Api-Key: b"): "duplicate",
    field(b"Max-Forwards: x", b"OPTIONS / HTTP/1.1\r\n"): "field_value",
    field(b"Max-Forwards: 1\r\nMax-Forwards: 1", b"OPTIONS / HTTP/1.1\r\n"): "duplicate",
}


def parse(data: bytes, limits: tuple[int, int, int] = LIMITS):  # type: ignore[no-untyped-def]
    with at_guard_page(data) as part:
        return http1.request_head(part, limits)


@pytest.mark.parametrize("data", TAKEN.values(), ids=TAKEN.keys())
def test_a_head_is_taken_at_its_last_byte_and_not_before(data: bytes) -> None:
    for n in range(len(data)):
        assert parse(data[:n]) == (http1.MORE, None)
    verdict, head = parse(data)
    assert verdict == http1.OK
    assert head["consumed"] == len(data)


@pytest.mark.parametrize("data", TAKEN.values(), ids=TAKEN.keys())
def test_what_follows_a_head_does_not_change_it(data: bytes) -> None:
    for tail in TAILS:
        assert parse(data + tail) == parse(data)


@pytest.mark.parametrize(("data", "fault"), REFUSED.items(), ids=map(repr, REFUSED))
def test_garbage_is_refused_at_its_first_wrong_byte(data: bytes, fault: tuple[str, int]) -> None:
    for n in range(fault[1]):
        assert parse(data[:n])[0] == http1.MORE
    for n in range(fault[1] + 1, len(data) + 1):
        verdict, what = parse(data[:n])
        if verdict != http1.MORE:
            assert (verdict, what) == (http1.BAD, fault)
    assert parse(data) == (http1.BAD, fault)


TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
START = b"GET / HTTP/1.1\r\n" + HOST


@pytest.mark.parametrize("at", range(34))
def test_every_byte_at_every_place_of_a_name(at: int) -> None:
    """Names are looked at sixteen bytes at a time where there are as many."""
    for byte in range(256):
        name = bytearray(b"A-Name9-of-thirty-four-letters-ab-")
        name[at] = byte
        found = parse(START + name + b": value\r\n\r\n")
        if byte in TOKEN or (byte == ord(":") and at):
            assert found[0] == http1.OK, (at, byte)
            continue
        folded = at == 0 and byte in b" \t"
        what = "field_folded" if folded else "line_end" if byte == ord("\n") else "field_name"
        if at == 0 and byte == ord("\r"):  # the empty line, were the next byte LF
            assert found == (http1.BAD, ("line_end", len(START) + 1))
        else:
            assert found == (http1.BAD, (what, len(START) + at)), (at, byte)


@pytest.mark.parametrize("at", range(34))
def test_every_byte_at_every_place_of_a_value(at: int) -> None:
    front = START + b"X:"
    for byte in range(256):
        value = bytearray(b"a value of thirty-four bytes \xc3\xa9 ab")
        value[at] = byte
        found = parse(front + value + b"\r\n\r\n")
        if byte == 9 or (byte >= 0x20 and byte != 0x7F):
            assert found[0] == http1.OK, (at, byte)
        elif byte == ord("\r"):
            assert found == (http1.BAD, ("line_end", len(front) + at + 1)), at
        else:
            what = "line_end" if byte == ord("\n") else "field_value"
            assert found == (http1.BAD, (what, len(front) + at)), (at, byte)


@pytest.mark.parametrize(
    ("data", "fault"),
    REFUSED_WHEN_COMPLETE.items(),
    ids=[repr(d)[:60] for d in REFUSED_WHEN_COMPLETE],
)
def test_a_head_that_means_something_wrong_is_refused(data: bytes, fault: str) -> None:
    assert parse(data[:-1])[0] == http1.MORE
    verdict, what = parse(data)
    assert (verdict, what[0]) == (http1.BAD, fault)
    assert what[1] <= len(data)


def test_the_parts_of_a_request_line_are_found() -> None:
    head = parse(TAKEN["absolute"])[1]
    assert head["authority"] == b"b.test:81"
    assert head["target"] == b"/x?y"
    assert parse(TAKEN["an unknown method"])[1]["method"] == b"BREW"
    assert parse(b"GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n")[1]["path_only_query"]


def test_http_1_2_to_1_9_count_as_1_1() -> None:
    for minor in b"123456789":
        assert parse(b"GET / HTTP/1.%c\r\nHost: a\r\n\r\n" % minor)[1]["minor"] == 1


def test_framing_is_the_same_for_every_method() -> None:
    for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"POST", b"X"):
        start = method + b" / HTTP/1.1\r\n"
        assert parse(field(b"Content-Length: 007", start))[1]["length"] == 7
        assert parse(field(b"Transfer-Encoding: chunked", start))[1]["framing"] == http1.CHUNKED
        assert parse(field(b"X: y", start))[1]["framing"] == http1.NO_BODY


def test_http_1_0_closes_unless_it_asks_to_stay() -> None:
    old = b"GET / HTTP/1.0\r\n"
    assert parse(field(b"X: y", old))[1]["asks_close"]
    assert not parse(field(b"Connection: Keep-Alive", old))[1]["asks_close"]
    assert parse(field(b"Connection: Keep-Alive, close", old))[1]["asks_close"]
    assert parse(field(b"Connection: ,Close ,"))[1]["asks_close"]
    assert not parse(field(b"Connection: closed"))[1]["asks_close"]


def test_fields_named_by_connection_end_at_this_hop_before_and_behind_it() -> None:
    head = parse(field(b"x-a: 1\r\nConnection: X-A, x-forwarded-for\r\nX-A: 2\r\nX-AB: 3"))[1]
    assert [head["fields"][i] for i in head["nominated"]] == [(b"x-a", b"1"), (b"X-A", b"2")]
    head = parse(field(b"Connection: x-forwarded-for\r\nX-Forwarded-For: 1.2.3.4"))[1]
    assert len(head["nominated"]) == 1


BOTH = b"Connection: upgrade\r\nUpgrade: "


@pytest.mark.parametrize(
    ("fields", "line", "upgrade"),
    [
        (BOTH + b"websocket", b"GET / HTTP/1.1", "websocket"),
        (BOTH + b"h2c, WebSocket", b"GET / HTTP/1.1", "websocket"),
        (BOTH + b"foo/2, websocket", b"GET / HTTP/1.1", "websocket"),
        (BOTH + b"websocket\r\nContent-Length: 0", b"GET / HTTP/1.1", "websocket"),
        (BOTH + b"websocket/13", b"GET / HTTP/1.1", "ignored"),
        (BOTH + b"TLS/1.2", b"POST / HTTP/1.1", "ignored"),
        (BOTH + b"foo", b"GET / HTTP/1.1", "ignored"),
        (BOTH + b"websocket", b"POST / HTTP/1.1", "ignored"),
        (BOTH + b"websocket", b"OPTIONS / HTTP/1.1", "ignored"),
        (BOTH + b"websocket\r\nContent-Length: 1", b"GET / HTTP/1.1", "ignored"),
        (BOTH + b"websocket\r\nTransfer-Encoding: chunked", b"GET / HTTP/1.1", "ignored"),
        (BOTH + b"H2C", b"GET / HTTP/1.1", "none"),
        (BOTH + b"a b", b"GET / HTTP/1.1", "none"),
        (b"Upgrade: websocket", b"GET / HTTP/1.1", "none"),
        (BOTH + b"websocket", b"GET / HTTP/1.0", "none"),
    ],
)
def test_only_a_get_without_a_body_may_ask_for_websocket_and_nothing_else(
    fields: bytes, line: bytes, upgrade: str
) -> None:
    none, ignored, websocket = http1.UPGRADES
    meant = {"none": none, "ignored": ignored, "websocket": websocket}[upgrade]
    assert parse(field(fields, line + b"\r\n"))[1]["upgrade"] == meant


def test_max_forwards_is_read_for_options_only() -> None:
    start = b"OPTIONS / HTTP/1.1\r\n"
    assert parse(field(b"Max-Forwards: 0", start))[1]["max_forwards"] == 0
    assert parse(field(b"Max-Forwards: 99999", start))[1]["max_forwards"] == 32767
    assert parse(field(b"Max-Forwards: 5"))[1]["max_forwards"] == -1


def test_http_1_0_is_not_sent_a_100() -> None:
    assert parse(field(b"Expect: 100-continue"))[1]["asks_continue"]
    assert not parse(field(b"Expect: 100-continue", b"POST / HTTP/1.0\r\n"))[1]["asks_continue"]


def test_a_request_line_may_be_as_long_as_the_limit_and_no_longer() -> None:
    line = b"GET / HTTP/1.1\r\n"
    rest = HOST + b"\r\n"
    assert parse(line + rest, (len(line), 4096, 9))[0] == http1.OK
    for cut in range(len(line) - 1, len(line + rest) + 1):
        verdict, what = parse((line + rest)[:cut], (len(line) - 1, 4096, 9))
        assert (verdict, what[0]) == (http1.BAD, "line_too_long")
    assert parse(b"A" * 8192)[1] == ("line_too_long", 8192)


def test_a_head_may_be_as_large_as_the_limit_and_no_larger() -> None:
    data = TAKEN["plain get"]
    assert parse(data, (4096, len(data), 9))[0] == http1.OK
    assert parse(data, (4096, len(data) - 1, 9))[1][0] == "head_too_large"
    assert parse(data[:-1], (4096, len(data) - 1, 9))[1][0] == "head_too_large"
    assert parse(data[:-2], (4096, len(data) - 1, 9)) == (http1.MORE, None)
    assert parse(b"GET / HTTP/1.1\r\nX: " + b"a" * 70000, (8192, 1 << 30, 9))[1][0] == (
        "head_too_large"
    )


def test_a_head_may_have_as_many_fields_as_the_limit_and_no_more() -> None:
    def many(n: int) -> bytes:
        return b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * (n - 1) + b"\r\n"

    assert parse(many(9), (4096, 4096, 9))[0] == http1.OK
    assert parse(many(10), (4096, 4096, 9))[1][0] == "too_many_fields"
    assert parse(many(http1.FIELDS), (4096, 65535, 9999))[0] == http1.OK
    assert parse(many(http1.FIELDS + 1), (4096, 65535, 9999))[1][0] == "too_many_fields"


def test_every_fault_has_a_name_a_status_and_a_sentence() -> None:
    assert len(set(http1.FAULTS)) == len(http1.FAULTS)
    for name in http1.FAULTS:
        status, text = http1.fault_reply(name)
        assert status in (400, 401, 403, 404, 405, 413, 414, 415, 417, 429, 431, 501, 502, 503, 505)
        assert text.endswith(".")


OF_SDKS = (b"X-Stainless-Retry-Count", b"X-Stainless-Read-Timeout", b"X-Stainless-Timeout")


def test_fields_of_the_sdks_are_known_in_any_case_and_by_no_other_name() -> None:
    ids = [http1.id_of_field(name) for name in OF_SDKS]
    assert len({*ids, http1.OTHER}) == 4
    for id_, name in zip(ids, OF_SDKS, strict=True):
        assert {http1.id_of_field(n) for n in (name.lower(), name.upper())} == {id_}
        for other in (name + b"x", b"x" + name, name.replace(b"-", b"_"), b"X-Stainless-Runtime"):
            assert http1.id_of_field(other) == http1.OTHER


def test_all_field_names_are_known_in_any_case() -> None:
    names = (
        b"Host Connection Content-Length Transfer-Encoding TE Trailer Upgrade Keep-Alive "
        b"Proxy-Connection HTTP2-Settings Expect Max-Forwards Via X-Forwarded-For "
        b"X-Forwarded-Proto X-Forwarded-Host X-Request-Id traceparent Authorization X-Api-Key "
        b"Api-Key Content-Type Content-Encoding Accept-Encoding Date Server Retry-After "
        b"Cookie Forwarded X-Real-IP"
    ).split()
    # Two ids stand for many names, and one for none; those of the SDKs come behind them.
    assert len(names) == http1.FIELD_IDS - 3 - len(OF_SDKS)
    for k, name in enumerate(names, 1):
        assert {http1.id_of_field(n) for n in (name, name.lower(), name.upper())} == {k}
        kin = http1.FORWARDED_KIN if name.startswith(b"X-Forwarded-") else http1.OTHER
        assert http1.id_of_field(name + b"x") == kin
        assert http1.id_of_field(b"x" + name) == http1.OTHER
        alias = name.replace(b"-", b"_")
        assert http1.id_of_field(alias) == (http1.ALIAS if b"-" in name else k)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (b"X-Forwarded", http1.FORWARDED_KIN),
        (b"X-Forwarded-Port", http1.FORWARDED_KIN),
        (b"x-forwarded-prefix", http1.FORWARDED_KIN),
        (b"X-FORWARDED-SSL", http1.FORWARDED_KIN),
        (b"X-Forwarded-Client_Cert", http1.FORWARDED_KIN),
        (b"X_Forwarded", http1.ALIAS),
        (b"X_Forwarded_Port", http1.ALIAS),
        (b"X-Forwarded_Port", http1.ALIAS),
        (b"X_Forwarded-Scheme", http1.ALIAS),
        (b"X-Forwarded_For", http1.ALIAS),
        (b"transfer_ENCODING", http1.ALIAS),
        (b"X-Forwardeds", http1.OTHER),
        (b"X-Forwardeds-For", http1.OTHER),
        (b"X-Forward", http1.OTHER),
        (b"Y-Forwarded-For", http1.OTHER),
        (b"X-Failover-Hint", http1.OTHER),
        (b"content_typo", http1.OTHER),
        (b"my_header", http1.OTHER),
        (b"_", http1.OTHER),
    ],
)
def test_names_that_stand_for_ours_are_known(name: bytes, kind: int) -> None:
    assert http1.id_of_field(name) == kind


@pytest.mark.parametrize(
    "host",
    b"a a.test a.test. a.test:80 a.test: 127.0.0.1 [::1] [::1]:8080 [v1.a] a%20b a_b~ x:65535"
    b" 1.2.3.4:1 [::ffff:1.2.3.4] [1:2:3:4:5:6:7:8]".split(),
)
def test_a_host_is_taken(host: bytes) -> None:
    with at_guard_page(host) as part:
        assert http1.is_valid_authority(part)


@pytest.mark.parametrize(
    "host",
    b"|:80|a b|a/b|a@b|a,b|.a|a..b|a:65536|a:x|a:1:2|[::1|[::1]x|[]|[::1%25e]|[v.a]|[v1.]|a%2|a%zz|"
    b"\xc3\xa9|a\x00|[1:2:3:4:5:6:7:8:9]|a[::1]|a$b".split(b"|"),
)
def test_what_is_no_host_is_refused(host: bytes) -> None:
    with at_guard_page(host) as part:
        assert not http1.is_valid_authority(part)


def test_numbers_end_at_two_to_the_63_minus_one() -> None:
    assert http1.number(b"%d" % (2**63 - 1)) == 2**63 - 1
    assert http1.number(b"0" * 99 + b"7") == 7
    for bad in (b"", b"%d" % 2**63, b"%d" % 2**64, b"9" * 99, b"-1", b"1 ", b"0x1", b"1_0"):
        assert http1.number(bad) is None
