"""The ways in which the network may cut the same bytes."""

from collections.abc import Iterator


def whole(data: bytes) -> list[bytes]:
    return [data]


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def in_two(data: bytes) -> Iterator[list[bytes]]:
    for i in range(1, len(data)):
        yield [data[:i], data[i:]]


def every_way(data: bytes) -> Iterator[list[bytes]]:
    yield whole(data)
    yield bytewise(data)
    yield from in_two(data)


TAILS = (b"", b"\r", b"\n", b"\r\n", b"0", b"\x00", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 16)
