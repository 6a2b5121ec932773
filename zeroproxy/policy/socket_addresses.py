"""Endpoint URLs as socket addresses.

The data plane wants the kernel's own bytes (struct sockaddr_*), so that connecting costs no
resolving. Host names are resolved here: when an endpoint is added, and again for
server/dns_watcher.py.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from urllib.parse import urlsplit

from zeroproxy.config.check_addresses import UNIX_PATH_MAX, bracketed
from zeroproxy.config.schema import Upstream
from zeroproxy.errors import ConfigError, UnresolvedError
from zeroproxy.policy.resolver import is_address, look_up


@dataclass
class ClientTls:
    """TLS of Python's own requests to the https:// endpoints of one upstream. A reload replaces the
    context. `name`: the name their certificates must hold; empty: each its own host."""

    context: ssl.SSLContext
    name: str = ""


@dataclass(frozen=True)
class Address:
    """Where an endpoint is: `sockaddr` as bytes, `authority` for Host, `target` for connect()."""

    url: str
    sockaddr: bytes
    authority: bytes
    family: int
    target: tuple[str, int] | str
    client_tls: ClientTls | None = field(default=None, compare=False, repr=False)

    @property
    def where(self) -> str:
        """The address itself, for people."""
        return self.target if isinstance(self.target, str) else self.target[0]

    @property
    def base(self) -> str:
        """A URL that leads to this very address; on a unix socket the host means nothing."""
        if isinstance(self.target, str):
            return "http://localhost"
        host, port = self.target
        scheme = "https" if self.host else "http"
        return f"{scheme}://{bracketed(host)}:{port}"

    @property
    def host(self) -> str:
        """The host of an https:// URL, which its certificate names; empty: no TLS."""
        return split_url(self.url)[0] if self.url.startswith("https://") else ""

    @property
    def context(self) -> ssl.SSLContext | None:
        """None: no TLS."""
        if not self.host:
            return None
        assert self.client_tls is not None, "it was resolved without a context"
        return self.client_tls.context

    @property
    def server_name(self) -> str | None:
        """The name its certificate must hold; None: no TLS."""
        if not self.host:
            return None
        return (self.client_tls.name if self.client_tls is not None else "") or self.host


class WatchedEndpoint(Protocol):
    """An endpoint in force; `index` is the engine's."""

    @property
    def index(self) -> int: ...

    @property
    def address(self) -> Address: ...


#: An upstream and its endpoints in force.
Group = tuple[Upstream, Sequence[WatchedEndpoint]]


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
    """struct sockaddr_un, NUL-terminated; the kernel takes no longer path."""
    raw = path.encode()
    if len(raw) > UNIX_PATH_MAX:
        raise ConfigError(f"unix:{path}: the path is longer than {UNIX_PATH_MAX} bytes")
    return struct.pack("=H", socket.AF_UNIX) + raw + b"\0"


def split_url(url: str) -> tuple[str, int]:
    """Host and port of http://host:port or https://host:port."""
    parts = urlsplit(url.partition("#")[0])
    if not parts.hostname:
        raise ConfigError(f"{url}: no host")
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def is_name(url: str) -> bool:
    """True where `url` holds a name, which may move: no unix socket, IP address or localhost."""
    if url.startswith("unix:"):
        return False
    host, _ = split_url(url)
    return not is_address(host) and host != "localhost" and not host.endswith(".localhost")


def inet_address(url: str, family: int, where: tuple[Any, ...]) -> Address:
    ip, port = str(where[0]), int(where[1])
    if family == socket.AF_INET:
        packed = pack_inet(ip, port)
    else:
        packed = pack_inet6(ip, port, int(where[3]) if len(where) > 3 else 0)
    authority = urlsplit(url).netloc.rpartition("@")[2]
    return Address(url, packed, authority.encode("latin-1"), family, (ip, port))


async def resolve_each(url: str) -> tuple[Address, ...]:
    """Every address of `url`, once, IPv4 before IPv6. Raises ConfigError; UnresolvedError if there
    is none now and may be one later."""
    if url.startswith("unix:"):
        path = url.removeprefix("unix:")
        return (Address(url, pack_unix(path), b"localhost", socket.AF_UNIX, path),)
    host, port = split_url(url)
    try:
        infos = await look_up(host, port)
    except OSError as error:
        raise UnresolvedError(f"{url}: cannot resolve {host}: {error.strerror or error}") from None
    except UnicodeError:
        raise ConfigError(f"{url}: {host} is no name") from None
    infos.sort(key=lambda entry: entry[0] != socket.AF_INET)
    each = {one.sockaddr: one for one in (inet_address(url, *entry) for entry in infos)}
    if not each:
        raise UnresolvedError(f"{url}: {host} has no address")
    return tuple(each.values())


async def resolve(url: str) -> Address:
    """The first address of `url`, IPv4 before IPv6. Raises ConfigError if there is none."""
    return (await resolve_each(url))[0]


def expand(addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    """The addresses of one name as endpoints of their own, called URL#ADDRESS."""
    return tuple(replace(one, url=f"{one.url}#{one.where}") for one in addresses)
