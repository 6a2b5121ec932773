"""The values of Host that the admin listener answers.

A page of any site can make a browser ask 127.0.0.1 under the site's own name (DNS rebinding), and
then read the answer. So a name has to be known; an address cannot be rebound.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

from zeroproxy.config.check_addresses import split_host_port
from zeroproxy.config.schema import Admin


def names_of(admin: Admin) -> frozenset[str]:
    """The names that Host may have beside loopback names and addresses."""
    host = "" if admin.listen.startswith("unix:") else split_host_port(admin.listen)[0]
    return frozenset(name.lower() for name in (host, *admin.hosts) if name)


def name_in(host: str) -> str:
    """The name or address of a Host field, without its port and in small letters."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower().removesuffix(".")


def is_known(host: str, names: Collection[str]) -> bool:
    """True if a request with this Host is answered; "": it has none, which no browser sends."""
    name = name_in(host)
    if not host or name == "localhost" or name.endswith(".localhost") or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
