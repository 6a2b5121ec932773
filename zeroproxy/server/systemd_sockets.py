"""Sockets that systemd has opened for this process: socket activation, sd_listen_fds(3).

`server.listen = "systemd:NAME"` takes all of a name: FileDescriptorName= of the socket's unit, or
the unit's own name. LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES are believed only as far as the
descriptors prove them right; else a sentence names what is wrong.
Tests: tests/unit/test_systemd_sockets.py, tests/e2e/test_systemd.py.
"""

from __future__ import annotations

import functools
import os
import re
import socket
from collections.abc import Mapping

from zeroproxy.errors import ListenError

FIRST = 3
MOST = 1024  # descriptors; a larger number is a mistake
VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def refused(problem: str) -> ListenError:
    return ListenError(f"cannot take the sockets of systemd: {problem}")


def number_in(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "")
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise refused(f"{name} is {text!r}, not a number" if text else f"{name} is not set")
    return int(text)


def passed(environ: Mapping[str, str], pid: int) -> dict[str, list[int]]:
    """Descriptors by name, as the environment has them. Raises ListenError: it contradicts itself,
    or is meant for another process."""
    if "LISTEN_FDS" not in environ:
        raise refused("LISTEN_FDS is not set: start the .socket unit, which starts the service")
    meant = number_in(environ, "LISTEN_PID")
    if meant != pid:
        raise refused(f"LISTEN_PID is {meant}, and this is process {pid}")
    count = number_in(environ, "LISTEN_FDS")
    if not 1 <= count <= MOST:
        raise refused(f"LISTEN_FDS is {count}, not 1 to {MOST}")
    names = environ.get("LISTEN_FDNAMES", ":".join(["unknown"] * count)).split(":")
    if len(names) != count:
        raise refused(f"LISTEN_FDS is {count}, but LISTEN_FDNAMES has {len(names)} names")
    found: dict[str, list[int]] = {}
    for k, name in enumerate(names):
        found.setdefault(name, []).append(FIRST + k)
    return found


@functools.cache
def inherited() -> dict[str, list[int]]:
    """Those of this process. A child of it inherits neither the variables nor the sockets."""
    found = passed(os.environ, os.getpid())
    for fd in (fd for fds in found.values() for fd in fds):
        try:
            os.set_inheritable(fd, False)
        except OSError:
            count = sum(map(len, found.values()))
            raise refused(f"LISTEN_FDS is {count}, but descriptor {fd} is not open") from None
    for name in VARIABLES:
        os.environ.pop(name, None)
    return found


def listening(fd: int, name: str) -> socket.socket:
    """A descriptor of its own for a socket of systemd. Raises ListenError."""
    try:
        sock = socket.socket(fileno=os.dup(fd))
    except OSError as error:
        raise refused(
            f'descriptor {fd} ("{name}") is no socket: {error.strerror or error}'
        ) from None
    is_stream = sock.type == socket.SOCK_STREAM
    if not is_stream or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.close()
        raise refused(f'descriptor {fd} ("{name}") is not a listening stream socket')
    sock.setblocking(False)
    return sock


def take(name: str) -> list[socket.socket]:
    """All sockets of a name. Raises ListenError; no descriptor is left open then."""
    found = inherited()
    if name not in found:
        names = ", ".join(sorted(found))
        raise refused(f'none is called "{name}"; there are: {names}')
    socks: list[socket.socket] = []
    try:
        socks.extend(listening(fd, name) for fd in found[name])
    except ListenError:
        for sock in socks:
            sock.close()
        raise
    return socks


def left_over(names: set[str]) -> list[str]:
    """Names that were passed and are not among `names`: nobody accepts there."""
    return sorted(set(inherited()) - names)
