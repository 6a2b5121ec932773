"""Endpoint URLs as socket addresses.

The data plane wants the kernel's own bytes (struct sockaddr_*), so that connecting costs no
resolving. Host names are resolved here, once, when the proxy starts.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from urllib.parse import urlsplit

from zeroproxy.errors import ConfigError


@dataclass(frozen=True)
class Address:
    """Where an endpoint is: `sockaddr` as bytes, `authority` for Host, `target` for connect()."""

    url: str
    sockaddr: bytes
    authority: bytes
    family: int
    target: tuple[str, int] | str


def pack_inet(host: str, port: int) -> bytes:
    """struct sockaddr_in: family in host order, port and address in network order."""
    return struct.pack("=H", socket.AF_INET) + struct.pack(
        "!H4s8x", port, socket.inet_pton(socket.AF_INET, host)
    )


def pack_inet6(host: str, port: int, scope: int = 0) -> bytes:
    """struct sockaddr_in6; the scope id is in host order."""
    packed = socket.inet_pton(socket.AF_INET6, host)
    return (
        struct.pack("=H", socket.AF_INET6)
        + struct.pack("!HI16s", port, 0, packed)
        + struct.pack("=I", scope)
    )


def pack_unix(path: str) -> bytes:
    """struct sockaddr_un, NUL-terminated; the kernel takes at most 107 bytes of path."""
    raw = path.encode()
    if len(raw) > 107:
        raise ConfigError(f"unix:{path}: the path is longer than 107 bytes")
    return struct.pack("=H", socket.AF_UNIX) + raw + b"\0"


def split_url(url: str) -> tuple[str, int]:
    """Host and port of http://host:port."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise ConfigError(f"{url}: no host")
    return parts.hostname, parts.port or 80


async def resolve(url: str) -> Address:
    """The first address of `url`, IPv4 before IPv6. Raises ConfigError if there is none."""
    if url.startswith("unix:"):
        path = url.removeprefix("unix:")
        return Address(url, pack_unix(path), b"localhost", socket.AF_UNIX, path)
    host, port = split_url(url)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"{url}: cannot resolve {host}: {error.strerror or error}") from None
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    family, _, _, _, where = found[0]
    ip = str(where[0])
    if family == socket.AF_INET:
        packed = pack_inet(ip, port)
    else:
        packed = pack_inet6(ip, port, int(where[3]) if len(where) > 3 else 0)
    authority = urlsplit(url).netloc.rpartition("@")[2]
    return Address(url, packed, authority.encode("latin-1"), int(family), (ip, port))
