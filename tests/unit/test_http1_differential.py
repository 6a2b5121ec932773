"""Generated requests and responses against two other readers of RFC 9112: strict9112, written from
the RFC for this purpose, and h11.

Known differences, each excluded where it is compared:
- strict9112 forwards TRACE and reads no limits; it accepts two Authorization lines, any
  Max-Forwards, and removes any nominated field but the few it lists.
- h11 accepts more than we do: bare LF, folding, any Host or target, lenient chunk extensions,
  Content-Length beside chunked, repeated equal lengths and more. So it is compared only where we
  accept: it must accept too, with the same parts and the same body. It refuses empty lines before a
  request and Content-Length above 20 digits: neither is generated for it.
"""

import os
from typing import Any

import h11
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tests.support import strict9112
from tests.support.walk import Walk, walk_requests, walk_response

MANY = settings(
    max_examples=int(os.environ.get("ZEROPROXY_EXAMPLES", "400")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
OURS_TO_REFUSE = {"trace", "large-header-section", "leading-crlf-many"}
OURS_FAULTS = {"duplicate", "line_too_long", "head_too_large", "method_refused"}

METHODS = [b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"get", b"X-Y", b"G@T", b"CONNECT", b""]
TARGETS = [
    b"/",
    b"/a?b=c",
    b"/%41",
    b"/%4",
    b"/\xc3",
    b"/a#b",
    b"*",
    b"a",
    b"http://a.test/x",
    b"http://a.test",
    b"http://a.test?q",
    b"https://[::1]:80/",
    b"http://u@a/",
    b"ftp://a/",
    b"",
    b"/a b",
    b'/"',
    b"http:///x",
    b"HTTP://b:99999/",
]
VERSIONS = [
    b"HTTP/1.1",
    b"HTTP/1.1",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/1.9",
    b"HTTP/2.0",
    b"HTTP/1.",
    b"http/1.1",
    b"HTTP/1.10",
    b"",
]
HOSTS = [
    b"a.test",
    b"a.test:80",
    b"a.test:",
    b"[::1]",
    b"[::g]",
    b"",
    b"a b",
    b"a..b",
    b"a,b",
    b"[v1.x]",
    b"%41",
    b"%4",
    b"a:70000",
    b"\xc3\xa9",
]
LENGTHS = [
    b"0",
    b"5",
    b"05",
    b"+5",
    b"5,5",
    b"",
    b"5 ",
    b"0x5",
    b"9223372036854775808",
    b"5\x0b",
    b"-0",
]
CODINGS = [
    b"chunked",
    b"Chunked",
    b"chunked ",
    b"gzip",
    b"gzip, chunked",
    b"chunked, chunked",
    b",chunked",
    b"identity",
    b"",
    b"chunked;a",
    b'"chunked"',
    b"xchunked",
]
CONNECTIONS = [
    b"close",
    b"keep-alive",
    b"x-a",
    b"Host",
    b"content-length",
    b"upgrade",
    b"a b",
    b",",
    b"close,",
    b"cookie, x-b",
]
OTHERS = [
    b"X-A: 1",
    b"x-a : 1",
    b"X-B:",
    b" folded",
    b"nocolon",
    b": x",
    b"X: a\x00",
    b"X: \x01",
    b"X\xe9: 1",
    b"Expect: 100-continue",
    b"Expect: 1",
    b"X: a\rb",
    b"Content_Length: 9",
    b"X: \tb\t ",
    b"Upgrade: websocket",
    b"Upgrade: h2c",
    b"Content-Type: a/b",
]
ENDS = [b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n"]
CHUNKS = [
    b"5\r\nhello\r\n",
    b"1\r\nx\r\n",
    b"0\r\n\r\n",
    b"0\r\n\r\n",
    b"0\r\n",
    b"\r\n",
    b"X-T: 1\r\n",
    b"5;a=b\r\nhello\r\n",
    b'5;a="b;\\""\r\nhello\r\n',
    b"5 ;a\r\nhello\r\n",
    b"5;\r\nhello\r\n",
    b"5\nhello\r\n",
    b"5\r\nhello\n",
    b"5\r\nhelloX\r\n",
    b"0x5\r\nhello\r\n",
    b"A\r\n0123456789\r\n",
    b"ffffffffffffffff\r\n",
    b"00\r\n\r\n",
    b"bad\r\n",
    b"Host: x\r\n",
    b'5;a="b\r\nhello\r\n',
]

mostly = st.integers(0, 9).map(lambda n: n < 8)


def pick(draw: Any, options: list[bytes], usual: bytes) -> bytes:
    return usual if draw(mostly) else draw(st.sampled_from(options))


def field_line(draw: Any) -> bytes:
    name, values = draw(
        st.sampled_from(
            [
                (b"Content-Length: ", LENGTHS),
                (b"Transfer-Encoding: ", CODINGS),
                (b"Connection: ", CONNECTIONS),
                (b"Host: ", HOSTS),
                (b"", OTHERS),
            ]
        )
    )
    value: bytes = name + draw(st.sampled_from(values))
    return value


def field_section(draw: Any, usual: list[bytes]) -> bytes:
    lines = usual + [field_line(draw) for _ in range(draw(st.integers(0, 2)))]
    lines = draw(st.permutations(lines))
    return b"".join(x + pick(draw, ENDS, b"\r\n") for x in lines) + pick(draw, ENDS, b"\r\n")


def body_for(draw: Any) -> tuple[list[bytes], bytes]:
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return [], b""
    if kind == 1:
        return [b"Content-Length: 5"], draw(st.sampled_from([b"hello", b"hell", b"hello!", b""]))
    chunks = b"".join(draw(st.lists(st.sampled_from(CHUNKS), max_size=4)))
    return [b"Transfer-Encoding: chunked"], chunks + pick(draw, [b""], b"0\r\n\r\n")


def maybe_damaged(draw: Any, data: bytes) -> bytes:
    if draw(mostly) or not data:
        return data
    i = draw(st.integers(0, len(data) - 1))
    byte = bytes([draw(st.integers(0, 255))])
    how = draw(st.integers(0, 2))
    return data[:i] + (b"" if how == 0 else byte) + data[i + (how < 2) :]


@st.composite
def requests(draw: Any) -> bytes:
    out = b""
    for _ in range(draw(st.integers(1, 3))):
        line = b" ".join(
            (
                pick(draw, METHODS, b"POST"),
                pick(draw, TARGETS, b"/x"),
                pick(draw, VERSIONS, b"HTTP/1.1"),
            )
        )
        framing, body = body_for(draw)
        head = line + pick(draw, ENDS, b"\r\n")
        out += head + field_section(draw, [b"Host: " + pick(draw, HOSTS, b"a.test"), *framing])
        out += body
    return maybe_damaged(draw, out)


@st.composite
def responses(draw: Any) -> bytes:
    line = pick(draw, VERSIONS, b"HTTP/1.1") + b" "
    line += draw(
        st.sampled_from([b"200 OK", b"204 X", b"304 X", b"103 X", b"200", b"99 X", b"600 X"])
    )
    framing, body = body_for(draw)
    out = line + pick(draw, ENDS, b"\r\n") + field_section(draw, framing) + body
    return maybe_damaged(draw, out)


def agree(walk: Walk, theirs: strict9112.Result, final: list[strict9112.Message]) -> None:
    assert len(walk.messages) <= len(final)
    for ours, other in zip(walk.messages, final, strict=False):
        assert ours.body == other.body
    if theirs.verdict == "reject" or theirs.prefer == "reject":
        assert walk.state == "bad"
    elif theirs.state != "complete":
        assert walk.state != "complete" or not theirs.messages
    elif not OURS_TO_REFUSE & set(theirs.codes()) and walk.fault not in OURS_FAULTS:
        assert walk.state == "complete"
        assert len(walk.messages) == len(final)


@MANY
@given(requests())
@example(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\r\n")
def test_requests_are_read_as_strict9112_reads_them(data: bytes) -> None:
    theirs = strict9112.classify_request(data)
    agree(walk_requests([data]), theirs, theirs.messages)


@MANY
@given(responses(), st.sampled_from(["GET", "HEAD"]))
def test_responses_are_read_as_strict9112_reads_them(data: bytes, method: str) -> None:
    theirs = strict9112.classify_response(data, method)
    final = [m for m in theirs.messages if not m.start[1].startswith(b"1")]
    agree(walk_response([data], method), theirs, final)


@MANY
@given(requests(), st.data())
def test_a_split_changes_nothing(data: bytes, draw: st.DataObject) -> None:
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=4)))
    parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert walk_requests(parts) == walk_requests([data])


def read_with_h11(data: bytes) -> tuple[h11.Request, bytes]:
    conn = h11.Connection(h11.SERVER)
    conn.receive_data(data)
    request = conn.next_event()
    assert isinstance(request, h11.Request)
    body = b""
    while not isinstance(event := conn.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
        body += bytes(event.data)
    return request, body


@MANY
@given(requests())
def test_what_we_accept_h11_reads_alike(data: bytes) -> None:
    assume(not data.startswith(b"\r\n"))
    walk = walk_requests([data])
    assume(walk.messages)
    ours = walk.messages[0]
    request, body = read_with_h11(data)
    assert body == ours.body
    assert request.method == ours.head["method"]
    assert len(request.headers) == len(ours.head["fields"])
    for (name, value), (our_name, our_value) in zip(
        request.headers.raw_items(), ours.head["fields"], strict=True
    ):
        assert name == our_name
        assert value.strip(b" \t") == our_value or name.lower() == b"transfer-encoding"
