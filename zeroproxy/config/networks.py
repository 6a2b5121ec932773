"""Networks that callers may come from, as the configuration writes them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from zeroproxy.config.base import KeyPath, Wrong
from zeroproxy.config.schema import Config

#: Stands for every caller on a unix socket.
UNIX = "unix"
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_network(text: str) -> Network:
    """A network, or one address. An IPv4 network that is mapped into IPv6 is the IPv4 network.
    Raises ValueError with a sentence."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        hint = f": {error}" if "host bits" in str(error) else ""
        raise ValueError(
            f'"{text}" is no network: 10.0.0.0/8, 2001:db8::/32, one address, or unix{hint}'
        ) from None
    first = network.network_address
    if isinstance(first, ipaddress.IPv6Address) and first.ipv4_mapped and network.prefixlen >= 96:
        return ipaddress.ip_network((first.ipv4_mapped, network.prefixlen - 96))
    return network


def check_sources(config: Config, wrong: Wrong) -> None:
    """Networks of listeners."""
    for k, listener in enumerate(config.listeners()):
        path: KeyPath = ("server", "listen", k)
        check_networks(listener.allow_from, (*path, "allow_from"), wrong)
        check_networks(listener.proxy_from, (*path, "proxy_from"), wrong)
        needs_senders = not listener.address.startswith("unix:")
        if listener.proxy_protocol and needs_senders and not listener.proxy_from:
            raise wrong("needs proxy_from, the networks that may send it: anybody else could claim "
                        "any address", (*path, "proxy_protocol"))  # fmt: skip
        if listener.proxy_from and not listener.proxy_protocol:
            raise wrong("is for proxy_protocol = true", (*path, "proxy_from"))


def check_networks(texts: Sequence[str], path: KeyPath, wrong: Wrong) -> None:
    for k, text in enumerate(texts):
        if text == UNIX:
            continue
        try:
            parse_network(text)
        except ValueError as error:
            raise wrong(str(error), (*path, k)) from None
