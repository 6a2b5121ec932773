"""Checks of addresses and URLs that no type can express: listeners, endpoints, loops.

Every check ends well or raises what `wrong(message, path)` makes; it knows no file and no line.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from zeroproxy.config.base import KeyPath, Wrong
from zeroproxy.config.schema import Config

# struct sockaddr_un holds 108 bytes, one of them the final NUL.
UNIX_PATH_MAX = 107
#: Sockets that another program has opened.
INHERITED = ("fd:", "systemd:")
# RFC 1035 2.3.4; also what keeps an authority inside the data plane's field.
HOST_MAX = 253
# Names as resolvers and container networks have them: with underscores, in spite of RFC 952.
HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?")


def check_unix(address: str, path: KeyPath, wrong: Wrong) -> None:
    name = address.removeprefix("unix:")
    if not name.startswith("/") or "\0" in name:
        raise wrong(f'"{address}": unix: needs an absolute path', path)
    if len(name.encode()) > UNIX_PATH_MAX:
        raise wrong(f'"{address}": the path is longer than {UNIX_PATH_MAX} bytes', path)


def is_host(host: str) -> bool:
    """A name, an IPv4 address, or an IPv6 address without its brackets."""
    if ":" not in host:
        return len(host) <= HOST_MAX and bool(HOST.fullmatch(host))
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def split_host_port(address: str) -> tuple[str, str]:
    """Host, without the brackets of IPv6, and port of HOST:PORT."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), port


def is_host_port(address: str) -> bool:
    """HOST:PORT, [IPV6]:PORT or :PORT, which is 0.0.0.0:PORT."""
    host, port = split_host_port(address)
    good_port = re.fullmatch(r"[0-9]{1,5}", port) and int(port) <= 65535
    good_host = not host or is_host(host)
    # Brackets stand around an IPv6 address and nothing else.
    return bool(good_port and good_host) and address == f"{bracketed(host)}:{port}"


def is_authority(text: str) -> bool:
    """HOST or HOST:PORT, with brackets around an IPv6 address, as a Host field has it."""
    host = text.removeprefix("[").removesuffix("]")
    if is_host(host):
        return text == bracketed(host)
    return is_host_port(text) and not text.startswith(":")


def bracketed(host: str) -> str:
    """A host as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def check_address(address: str, path: KeyPath, wrong: Wrong) -> None:
    """An address of server.listen."""
    if address.startswith("unix:"):
        return check_unix(address, path, wrong)
    if re.fullmatch(r"fd:[0-9]{1,9}|systemd:[!-9;-~]{1,255}", address) or is_host_port(address):
        return None
    message = f'"{address}" is no address: HOST:PORT, [IPV6]:PORT, unix:/path, fd:N or systemd:NAME'
    if re.fullmatch(r"[0-9]{1,5}", address):
        message += f'; did you mean "127.0.0.1:{address}" or ":{address}"?'
    raise wrong(message, path)


def split_endpoint(url: str) -> SplitResult | None:
    """The parts of http://HOST:PORT or https://HOST:PORT; None: it is not one."""
    # Before urlsplit, which drops line ends and tabs silently.
    if not re.fullmatch(r"[!-~]+", url):
        return None
    try:
        parts = urlsplit(url)
        good = (
            parts.scheme in ("http", "https") and parts.port != 0 and is_host(parts.hostname or "")
        )
    except ValueError:
        return None
    return parts if good else None


def check_url(url: str, path: KeyPath, wrong: Wrong) -> None:
    """The URL of an endpoint."""
    if url.startswith("unix:"):
        return check_unix(url, path, wrong)
    parts = split_endpoint(url)
    if parts is None:
        raise wrong(
            f'"{url}" is no endpoint: http://HOST:PORT, https://HOST:PORT or unix:/path', path
        )
    if parts.username is not None:
        raise wrong("an endpoint has no user in its URL", path)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise wrong(f'"{url}": an endpoint has no path; paths are passed through', path)
    return None


def check_handover(config: Config, wrong: Wrong) -> None:
    address, key = config.server.handover, ("server", "handover")
    if not address:
        return
    if not address.startswith("unix:"):
        raise wrong(f'"{address}": it takes unix:/path', key)
    check_unix(address, key, wrong)
    if address in (*config.listens(), config.admin.listen):
        raise wrong(f"{address} is a listener too; the handover needs an address of its own", key)


def check_listeners(config: Config, wrong: Wrong) -> None:
    addresses = config.listens()
    key: KeyPath = ("server", "listen")
    if not addresses:
        raise wrong("at least one address is needed", key)
    for k, address in enumerate(addresses):
        where = key if isinstance(config.server.listen, str) else (*key, k)
        check_address(address, where, wrong)
        if address in addresses[:k] and not address.endswith(":0"):
            raise wrong(f"{address} is there twice", where)
    admin = config.admin.listen
    check_handover(config, wrong)
    if not admin:
        return
    if admin.startswith(INHERITED):
        kind = "fd:N" if admin.startswith("fd:") else "systemd:NAME"
        raise wrong(f"{kind} is for server.listen; give HOST:PORT or unix:/path",
                    ("admin", "listen"))  # fmt: skip
    check_address(admin, ("admin", "listen"), wrong)
    if admin in addresses and not admin.endswith(":0"):
        raise wrong(f"{admin} is also in server.listen; admin needs an address of its own",
                    ("admin", "listen"))  # fmt: skip


def is_loopback(address: str) -> bool:
    """True if nobody outside this machine reaches a listener."""
    if address.startswith("unix:"):
        return True
    host, _ = split_host_port(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


LOOPBACKS = ("127.0.0.1", "::1")


def places_of(host: str) -> set[str]:
    """The addresses that `host`, without brackets, stands for without a look-up; else the name."""
    if host == "localhost" or host.endswith(".localhost"):
        return set(LOOPBACKS)
    try:
        return {str(ipaddress.ip_address(host))}
    except ValueError:
        return {host}


def is_accepted(place: str, mine: str) -> bool:
    """True if a listener on `mine` accepts a connection to `place`. To connect to the unspecified
    address is to connect to loopback."""
    if mine not in ("0.0.0.0", "::"):
        return place == mine or (place, mine) in (("0.0.0.0", "127.0.0.1"), ("::", "::1"))
    try:
        address = ipaddress.ip_address(place)
    except ValueError:
        return False
    same_family = (address.version == 6) == (mine == "::")
    return same_family and (address.is_loopback or address.is_unspecified)


def leads_to(url: str, listener: str) -> bool:
    """True if an endpoint is `listener`, as far as no name has to be looked up."""
    if url.startswith("unix:") or listener.startswith(("unix:", *INHERITED)):
        return url == listener
    parts = split_endpoint(url)
    host, port = split_host_port(listener)
    if parts is None or not int(port):
        return False
    if (parts.port or (443 if parts.scheme == "https" else 80)) != int(port):
        return False
    wanted, mine = (parts.hostname or "").lower(), host.lower() or "0.0.0.0"
    return any(is_accepted(place, own) for place in places_of(wanted) for own in places_of(mine))


def check_loops(config: Config, wrong: Wrong) -> None:
    """No endpoint is a listener of this proxy: a request would go round until its head is full."""
    for k, upstream in enumerate(config.upstream):
        for j, endpoint in enumerate(upstream.all_endpoints()):
            here: KeyPath = ("upstream", k, "endpoints", j)
            if any(leads_to(endpoint.url, listener) for listener in config.listens()):
                raise wrong(f"{endpoint.url} is this proxy's own listener", here)
            if config.admin.listen and leads_to(endpoint.url, config.admin.listen):
                raise wrong(f"{endpoint.url} is this proxy's own admin listener", here)
