"""Listening sockets: TCP, unix, or inherited. A failure is a sentence that names the address."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeroproxy._fast.engine.engine import Engine
from zeroproxy.config.check_addresses import bracketed, split_host_port
from zeroproxy.config.schema import Config
from zeroproxy.errors import ListenError
from zeroproxy.policy.socket_addresses import Address
from zeroproxy.server.systemd_sockets import left_over, take

log = logging.getLogger(__name__)

BACKLOG = 4096  # the kernel caps it at net.core.somaxconn


@dataclass
class Bound:
    """One bound listener; `url` is where it can be reached."""

    sock: socket.socket
    url: str
    path: str = ""
    place: int = 0  # of its address in server.listen

    @property
    def is_unix(self) -> bool:
        return self.sock.family == socket.AF_UNIX

    def accept(self, engine: Engine, config: Config) -> None:
        """Let callers in, by the rules of its table in server.listen."""
        rules = config.listeners()[self.place]
        engine.listen(
            self.sock.fileno(), is_unix=self.is_unix, allow_from=rules.allow_from,
            proxy_from=rules.proxy_from if rules.proxy_protocol else None,
        )  # fmt: skip

    def unlink(self) -> None:
        """Take the name of a unix socket away, if it is still this one's: a process that was
        started meanwhile may have bound it anew. Only while the socket is open: until then the
        kernel gives its inode to nobody else."""
        path, self.path = self.path, ""
        with contextlib.suppress(OSError):
            if path and inode_of(path) == self.inode:
                Path(path).unlink()

    def probe_when_silent(self, seconds: int) -> None:
        """Let TCP ask callers that are silent for so long; without an answer their connections end
        after as many seconds more. 0: never. Connections accepted from now on inherit it."""
        if self.is_unix:
            return
        options = {"TCP_KEEPIDLE": seconds, "TCP_KEEPINTVL": max(seconds // 4, 1), "TCP_KEEPCNT": 4}
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, bool(seconds))
            for name, value in options.items() if seconds else ():
                self.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def close(self) -> None:
        self.unlink()
        self.sock.close()

    def __post_init__(self) -> None:
        self.inode = inode_of(self.path) if self.path else (0, 0)


def inode_of(path: str) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_dev, status.st_ino


def refusal(address: str, error: OSError) -> ListenError:
    hint = ""
    if error.errno == errno.EACCES and not address.startswith("unix:"):
        hint = " (a port below 1024 needs CAP_NET_BIND_SERVICE)"
    return ListenError(
        f"cannot listen on {address}: {error.strerror or error}{hint}",
        is_in_use=error.errno == errno.EADDRINUSE,
    )


def bind_tcp(address: str) -> Bound:
    host, port = split_host_port(address)
    try:
        infos = socket.getaddrinfo(
            host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {error.strerror or error}") from None
    family, kind, proto, _, where = infos[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise refusal(address, error) from None
    sock.setblocking(False)
    return Bound(sock, url_of(sock))


def remove_stale(path: Path) -> None:
    """A socket file nobody answers on is left over from a crash; anything else is not ours."""
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise ListenError(f"cannot listen on unix:{path}: the file exists and is not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()
            return
    raise ListenError(
        f"cannot listen on unix:{path}: another process listens there", is_in_use=True
    )


def bind_unix(path: str) -> Bound:
    remove_stale(Path(path))
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(path)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise refusal(f"unix:{path}", error) from None
    sock.setblocking(False)
    return Bound(sock, f"unix:{path}", path)


def adopt_fd(number: str) -> Bound:
    """A listening socket somebody left open for us (systemd, a supervisor)."""
    try:
        sock = socket.socket(fileno=os.dup(int(number)))
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.close()
            raise ListenError(f"cannot listen on fd:{number}: it is not a listening socket")
    except OSError as error:
        raise ListenError(f"cannot listen on fd:{number}: {error.strerror or error}") from None
    sock.setblocking(False)
    return Bound(sock, f"fd:{number}")


def is_local(family: int, ip: str) -> bool:
    """True where `ip` is an address of this machine: only those can be bound."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ip, 0))
        except OSError:
            return False
    return True


def leads_to(name: Any, address: Address) -> bool:
    """True where a connection to `address` reaches the listener that is bound to `name`."""
    if isinstance(name, str) or isinstance(address.target, str):
        return (
            isinstance(name, str) and isinstance(address.target, str)
            and Path(name).resolve() == Path(address.target).resolve()
        )  # fmt: skip
    ip, port = address.target
    if port != name[1] or (":" in ip) != (":" in name[0]):
        return False
    return ip == name[0] or (name[0] in ("0.0.0.0", "::") and is_local(address.family, ip))


def is_own(bound: Iterable[Bound], address: Address) -> bool:
    """True where `address` is one of these listeners: every request would go round."""
    return any(leads_to(one.sock.getsockname(), address) for one in bound)


def bind(address: str) -> Bound:
    """Bind one address of `server.listen`. Raises ListenError with a sentence."""
    if address.startswith("unix:"):
        return bind_unix(address.removeprefix("unix:"))
    if address.startswith("fd:"):
        return adopt_fd(address.removeprefix("fd:"))
    return bind_tcp(address)


def url_of(sock: socket.socket) -> str:
    """Where it can be reached."""
    name = sock.getsockname()
    if isinstance(name, (str, bytes)):
        return f"unix:{os.fsdecode(name)}"
    return f"http://{bracketed(name[0])}:{name[1]}"


def bind_each(address: str, bind: Callable[[str], Bound] = bind) -> list[Bound]:
    """The listeners of one address of `server.listen`. Raises ListenError with a sentence."""
    if not address.startswith("systemd:"):
        return [bind(address)]
    return [Bound(sock, url_of(sock)) for sock in take(address.removeprefix("systemd:"))]


def bind_all(
    addresses: tuple[str, ...] | list[str], bind: Callable[[str], Bound] = bind
) -> list[Bound]:
    """All or none."""
    bound: list[Bound] = []
    names = {a.removeprefix("systemd:") for a in addresses if a.startswith("systemd:")}
    try:
        for k, address in enumerate(addresses):
            for one in bind_each(address, bind):
                one.place = k
                bound.append(one)  # closed one by one on failure
        if names and (others := left_over(names)):
            log.warning(f"systemd passes sockets that server.listen leaves out, where callers wait "
                        f"for ever: {', '.join(others)}")  # fmt: skip
    except ListenError:
        for listener in bound:
            listener.close()
        raise
    return bound
