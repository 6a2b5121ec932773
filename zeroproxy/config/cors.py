"""Pages of other origins that a browser lets read responses."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from zeroproxy.config.base import Base

ORIGINS_MAX = 64


class Cors(Base, frozen=True):
    """CORS (docs/browsers.md): preflights are answered here, and responses let these pages read."""

    #: "https://app.example", exactly as browsers send it, or "*" alone: any. None: CORS is off, and
    #: preflights go to the server.
    origins: Annotated[tuple[str, ...], Meta(max_length=ORIGINS_MAX)] = ()
    #: Header fields that a page may send; "*" alone: any.
    headers: Annotated[tuple[str, ...], Meta(max_length=64)] = ("*",)
    #: Seconds that a browser may remember the answer to a preflight.
    max_age: Annotated[int, Meta(ge=0, le=86400)] = 600


#: RFC 6454 6.2: scheme, host and port, in the spelling of browsers.
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]{1,253}|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,255}")
USUAL_PORTS = {"http": "80", "https": "443"}


def origin_problem(origin: str) -> str:
    """The reason why no browser sends this origin; "": one does."""
    if origin == "null":
        return '"null" is the origin of every page that hides its own'
    if not ORIGIN.fullmatch(origin):
        hint = origin.lower().rstrip("/")
        if hint != origin and ORIGIN.fullmatch(hint):
            return f'"{origin}" is no origin; did you mean "{hint}"?'
        return f'"{origin}" is no origin: https://HOST or https://HOST:PORT, in small letters'
    scheme, _, rest = origin.partition("://")
    host, _, port = rest.rpartition(":") if not rest.endswith("]") else (rest, "", "")
    if host and port == USUAL_PORTS.get(scheme):
        return f'browsers leave the usual port out: "{scheme}://{host}"'
    if port.isdigit() and host and int(port) > 65535:
        return f'"{origin}": its port is no number from 0 to 65535'
    return ""


def header_problem(name: str) -> str:
    return "" if TOKEN.fullmatch(name) else f'"{name}" is no name of a header field'
