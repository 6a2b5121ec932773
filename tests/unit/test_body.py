"""Bodies: framing off and on, for every split of the bytes."""

import subprocess
import sys

import pytest

from tests.probes import http1
from tests.support.guarded import at_guard_page
from tests.support.split import TAILS, bytewise, every_way, whole

LIMIT = 64
CHUNKED = {
    b"0\r\n\r\n": b"",
    b"5\r\nhello\r\n0\r\n\r\n": b"hello",
    b"1\r\nh\r\n4\r\nello\r\n0\r\n\r\n": b"hello",
    b"00005\r\nhello\r\n000\r\n\r\n": b"hello",
    b"A\r\n0123456789\r\na\r\nabcdefghij\r\n0\r\n\r\n": b"0123456789abcdefghij",
    b'5;a\r\nhello\r\n0;b=c;d="e;\\"\xff"\r\n\r\n': b"hello",
    b"2\r\n\r\n\r\n0\r\n\r\n": b"\r\n",
    b"1\r\nx\r\n0\r\nX-T: 1\r\nY:\r\n\r\n": b"x",
    b"000000000000000000000000001\r\nx\r\n0\r\n\r\n": b"x",
}
REFUSED = {
    b"g\r\n": ("chunk_size", 0),
    b"\r\n": ("chunk_size", 0),
    b"-1\r\n": ("chunk_size", 0),
    b"0x5\r\n": ("chunk_size", 1),
    b"5 \r\n": ("chunk_size", 1),
    b" 5\r\n": ("chunk_size", 0),
    b"5_0\r\n": ("chunk_size", 1),
    b"5\n": ("chunk_size", 1),
    b"5\r5": ("chunk_end", 2),
    b"8000000000000000\r\n": ("chunk_size", 15),
    b"ffffffffffffffffff\r\n": ("chunk_size", 15),
    b"5;\r\n": ("chunk_ext", 2),
    b"5; a\r\n": ("chunk_ext", 2),
    b"5;a =b\r\n": ("chunk_ext", 3),
    b"5;a=\r\n": ("chunk_ext", 4),
    b"5;a=b c\r\n": ("chunk_ext", 5),
    b'5;a="b\r\n': ("chunk_ext", 6),
    b'5;a="b"c\r\n': ("chunk_ext", 7),
    b"5;a\n": ("chunk_ext", 3),
    b"5;a\x00\r\n": ("chunk_ext", 3),
    b"5;a=" + b"b" * LIMIT: ("chunk_ext", 1 + LIMIT),
    b"0" * (LIMIT + 17): ("chunk_ext", LIMIT + 16),
    b"5\r\nhelloX": ("chunk_end", 8),
    b"5\r\nhello\n": ("chunk_end", 8),
    b"5\r\nhello\rX": ("chunk_end", 9),
    b"0\r\n\n": ("trailer", 3),
    b"0\r\n X: 1\r\n": ("trailer", 3),
    b"0\r\nX : 1\r\n": ("trailer", 4),
    b"0\r\nX\r\n": ("trailer", 4),
    b"0\r\n: 1\r\n": ("trailer", 3),
    b"0\r\nX: 1\n": ("trailer", 7),
    b"0\r\nX: \x7f\r\n": ("trailer", 6),
    b"0\r\nX: 1\r\n\rY": ("trailer", 10),
    b"0\r\nX: " + b"1" * LIMIT: ("head_too_large", 3 + LIMIT),
    b"0\r\n" + b"X:1\r\n" * LIMIT: ("head_too_large", 3 + LIMIT),
}


def unframe(
    parts: list[bytes], framing: int = http1.CHUNKED, length: int = 0
) -> tuple[int, bytes, int, str]:
    """(verdict, body, consumed, fault) of all parts; each part lies at a guard page."""
    probe = http1.BodyProbe(framing, length, LIMIT)
    body, consumed, verdict = b"", 0, http1.MORE
    for part in parts:
        with at_guard_page(part) as block:
            verdict, at, n, used = probe.unframe(block)
            body += bytes(block[at : at + n])
        consumed += used
        if verdict != http1.MORE:
            break
        assert used == len(part)
    assert probe.total == len(body)
    assert probe.done == (verdict == http1.OK)
    return verdict, body, consumed, probe.fault


@pytest.mark.parametrize(("data", "body"), CHUNKED.items(), ids=map(repr, CHUNKED))
def test_a_chunked_body_may_be_split_anywhere(data: bytes, body: bytes) -> None:
    for parts in every_way(data):
        assert unframe(parts) == (http1.OK, body, len(data), "none")


@pytest.mark.parametrize(("data", "body"), CHUNKED.items(), ids=map(repr, CHUNKED))
def test_what_follows_a_chunked_body_is_left_alone(data: bytes, body: bytes) -> None:
    for tail in TAILS:
        for parts in (whole(data + tail), bytewise(data + tail)):
            assert unframe(parts) == (http1.OK, body, len(data), "none")


@pytest.mark.parametrize("data", CHUNKED, ids=repr)
def test_a_chunked_body_does_not_end_before_its_last_byte(data: bytes) -> None:
    for n in range(1, len(data)):
        assert unframe([data[:n]])[0] == http1.MORE


@pytest.mark.parametrize(("data", "fault"), REFUSED.items(), ids=[repr(d)[:40] for d in REFUSED])
def test_a_wrong_byte_is_refused_where_it_stands_however_split(
    data: bytes, fault: tuple[str, int]
) -> None:
    for parts in every_way(data):
        verdict, body, consumed, name = unframe(parts)
        assert (verdict, name, consumed) == (http1.BAD, *fault)
        assert body == (b"hello" if fault[1] >= 8 and data.startswith(b"5\r\n") else b"")


def test_a_body_that_was_refused_stays_refused() -> None:
    probe = http1.BodyProbe(http1.CHUNKED)
    assert probe.unframe(bytearray(b"zz"))[0] == http1.BAD
    assert probe.unframe(bytearray(b"0\r\n\r\n")) == (http1.BAD, 0, 0, 0)


def test_a_body_that_has_ended_takes_no_more() -> None:
    for probe in (http1.BodyProbe(http1.NO_BODY), http1.BodyProbe(http1.LENGTH, 0)):
        assert probe.done
        assert probe.unframe(bytearray(b"GET")) == (http1.OK, 0, 0, 0)


def test_the_largest_chunk_size_is_two_to_the_63_minus_one() -> None:
    assert unframe([b"7fffffffffffffff\r\nabc"])[:2] == (http1.MORE, b"abc")


def test_a_read_within_one_chunk_moves_nothing() -> None:
    probe = http1.BodyProbe(http1.CHUNKED)
    block = bytearray(b"5\r\nhello\r\n")
    assert probe.unframe(block) == (http1.MORE, 3, 5, 10)
    assert block == b"5\r\nhello\r\n"


def test_data_of_several_chunks_is_joined_at_the_place_of_the_first() -> None:
    probe = http1.BodyProbe(http1.CHUNKED)
    block = bytearray(b"3\r\nabc\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\nnext")
    assert probe.unframe(block) == (http1.OK, 3, 6, len(block) - 4)
    assert block[3:9] == b"abcdef"
    assert block.endswith(b"next")


def test_a_length_is_counted_for_every_split() -> None:
    for tail in TAILS:
        for parts in every_way(b"hello" + tail):
            assert unframe(parts, http1.LENGTH, 5) == (http1.OK, b"hello", 5, "none")
    assert unframe([b"hell"], http1.LENGTH, 5)[0] == http1.MORE


def test_a_body_until_close_never_ends_by_itself() -> None:
    for parts in every_way(b"0\r\n\r\n"):
        assert unframe(parts, http1.CLOSE) == (http1.MORE, b"0\r\n\r\n", 5, "none")


def test_what_we_frame_we_can_unframe() -> None:
    for n in (1, 9, 15, 16, 255, 256, 4095, 4096, 65535, 65536):
        data = bytes(i & 255 for i in range(n))
        framed = http1.chunk(data)
        assert framed == b"%x\r\n" % n + data + b"\r\n"
        assert unframe([framed + http1.last_chunk()])[:2] == (http1.OK, data)


def test_many_small_chunks_fit_any_extra_limit() -> None:
    assert unframe([b"1\r\nx\r\n" * 20000 + b"0\r\n\r\n"])[:2] == (http1.OK, b"x" * 20000)


def test_extensions_of_all_chunks_count_together() -> None:
    assert unframe([b"1;a=b\r\nx\r\n" * 30])[3] == "chunk_ext"


def test_reading_past_a_guard_page_kills() -> None:
    code = "from tests.support.guarded import read_past_the_end; read_past_the_end(b'abc')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.returncode != 0
    assert done.stdout == b""
