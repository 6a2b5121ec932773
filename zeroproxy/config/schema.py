"""The configuration: every key, its type, its range and its default, as frozen structs.

Law 1. The names are a contract (conf/reference.toml shows them all): keys are added, not renamed.
Law 2. A default fits an operator that does not know the key; its precedent is named.
Law 3. A key whose feature this version does not have is refused, never silently accepted.
Times are seconds, or texts with a unit (config/units.py). 0 means no limit unless a key's comment
differs. Parts: config/base.py, config/upstream.py, config/tls.py, config/metering.py,
config/auth.py. Reading: config/load.py.
Tests: tests/house/test_conf.py, tests/unit/test_config.py.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from zeroproxy.config.auth import Auth, Key, KeysFile, Shared
from zeroproxy.config.base import BYTES, Base, Seconds, Secret
from zeroproxy.config.cors import Cors
from zeroproxy.config.jwt import Jwt
from zeroproxy.config.metering import (
    AnySink,
    Metering,
    Otel,
    ToJsonl,
    ToPostgres,
    ToRedis,
    kind_of,
)
from zeroproxy.config.surface import Surface
from zeroproxy.config.tls import ServerTls, UpstreamTls
from zeroproxy.config.upstream import (
    Admission,
    Alias,
    Breaker,
    Endpoint,
    Hash,
    Health,
    Hedge,
    ModelName,
    Pool,
    PresetName,
    Retry,
    Timeouts,
    Upstream,
    Warmup,
)

__all__ = [
    "Admin",
    "Admission",
    "Alias",
    "AnySink",
    "Auth",
    "Base",
    "Breaker",
    "Config",
    "Cors",
    "Endpoint",
    "Hash",
    "Health",
    "Hedge",
    "Jwt",
    "Key",
    "KeysFile",
    "Limits",
    "Listen",
    "Log",
    "Metering",
    "ModelName",
    "Otel",
    "Pool",
    "PresetName",
    "Retry",
    "Server",
    "ServerTls",
    "Shared",
    "Surface",
    "Timeouts",
    "ToJsonl",
    "ToPostgres",
    "ToRedis",
    "Upstream",
    "UpstreamTls",
    "Warmup",
    "kind_of",
]


LogSpec = Annotated[str, Meta(pattern=r"^(|jsonl:.+)$")]


class Listen(Base, frozen=True):
    """One address of server.listen, with the callers that it takes."""

    #: As a plain string of server.listen.
    address: str
    #: Networks of callers, "10.0.0.0/8" or one address each; "unix": those on a unix socket. Empty:
    #: all. Requests from elsewhere get 403.
    allow_from: tuple[str, ...] = ()
    #: Connections begin with a header of the PROXY protocol, version 1 or 2 (HAProxy send-proxy,
    #: nginx proxy_protocol, AWS NLB). The address in it is the caller's.
    proxy_protocol: bool = False
    #: Networks that may send it; connections from elsewhere are closed. On a unix socket: all.
    proxy_from: tuple[str, ...] = ()


class Server(Base, frozen=True):
    """The data listeners."""

    #: "HOST:PORT", "[v6]:PORT", "unix:/path", "systemd:NAME" (socket activation) or "fd:N"
    #: (inherited); a string or a list.
    #: ":PORT" is 0.0.0.0:PORT, and "[::]:PORT" is IPv6 only: for both give both. In a list also a
    #: table {address, allow_from, proxy_protocol, proxy_from}.
    listen: str | tuple[str | Listen, ...] = ("127.0.0.1:8080",)
    #: Processes. Only 1 in this version.
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    #: How long SIGTERM waits for exchanges to finish before it cuts them (Kubernetes: 30).
    drain_timeout: Seconds = 30.0
    #: Before that: /readyz is 503 at once, but requests are taken for so long, until load balancers
    #: have looked (Kubernetes: 10). Answers carry Connection: close.
    drain_settle: Seconds = 0.0
    #: "unix:/path": where `zeroproxy upgrade` takes over from this process. "": it cannot.
    handover: str = ""
    #: How long exchanges may go on in a process that was relieved; 0: as long as they take (nginx
    #: has no limit, Envoy 15 min).
    handover_timeout: Seconds = 3600.0
    #: Add Via to forwarded requests: a MUST of RFC 9110 7.6.3 that nginx and HAProxy omit.
    via: bool = True
    #: Keep the caller's X-Forwarded-*, Forwarded and X-Real-IP; append to X-Forwarded-For and
    #: Forwarded. Only behind a proxy of your own.
    trust_forwarded: bool = False
    #: The meaning of a caller's FIN behind a whole request. abort: the caller has left (nginx,
    #: Envoy, HAProxy's abortonclose). serve: it still reads (nc -N).
    half_close: Literal["abort", "serve"] = "abort"
    #: An event stream gets a comment after so long without a byte, before the first token too. From
    #: then on its status is 200, and failures are error events. "auto": a third of the read timeout
    #: that the caller announces, if it does, but not below 5 s. 0: none (docs/keepalive.md).
    sse_keepalive: Seconds | Literal["auto"] = 0.0
    #: Silence on a caller's connection after which TCP probes it; 0: never.
    tcp_keepalive: Annotated[int, Meta(ge=0, le=7200)] = 60
    tls: ServerTls = field(default_factory=ServerTls)
    cors: Cors = field(default_factory=Cors)


class Admin(Base, frozen=True):
    """The admin listener, apart from the data port."""

    #: "HOST:PORT" or "unix:/path"; "" switches it off. Keep it on loopback.
    listen: str = "127.0.0.1:9090"
    #: Needed by every path but /healthz and /readyz, as "Authorization: Bearer TOKEN"; or the file
    #: that holds it. Neither: no path needs one.
    token: Secret = ""
    token_file: str = ""
    #: Names that Host may have, beside loopback names, addresses and the host of `listen`. Any
    #: other is 421, for a web page can make its own name lead here. With the token: any name.
    hosts: tuple[str, ...] = ()
    #: Listen on other addresses than loopback without a token: whoever reaches the port may drain
    #: the proxy. Without this it is an error.
    insecure: bool = False
    #: "jsonl:/path" or "jsonl:stdout": a line for each request that could change something, with
    #: caller and result; "" switches it off.
    audit: LogSpec = ""


class Limits(Base, frozen=True):
    """Limits on requests: sizes, counts and times. Everything is bounded."""

    #: Request line, bytes (RFC 9112: at least 8,000 must work); above it: 414.
    header_line_bytes: Annotated[int, Meta(ge=512, le=32768, extra=BYTES)] = 16384
    #: A whole head, bytes; above it: 431. Half a block at most.
    header_bytes: Annotated[int, Meta(ge=1024, le=49152, extra=BYTES)] = 32768
    #: Fields of a head (Envoy 100, HAProxy 101); above it: 431.
    header_count: Annotated[int, Meta(ge=8, le=256)] = 100
    #: Request body, bytes; 0: no limit. Images and audio come as base64. Above it: 413.
    body_bytes: Annotated[int, Meta(ge=0, le=1 << 40, extra=BYTES)] = 1 << 30
    #: Downstream connections; 0: as many as the descriptors allow. Above it: 503.
    connections: Annotated[int, Meta(ge=0, le=1 << 20)] = 0
    #: First to last byte of a head (nginx 60, here the strict figure of the slowloris literature).
    header_timeout: Seconds = 10.0
    #: Between two reads of a request body (nginx 60).
    body_timeout: Seconds = 30.0
    #: Bytes a second, on average, of a request body that is streamed because it does not fit
    #: 64 KiB. Below it, once body_timeout is over, 408. 0: no limit (Apache 500).
    body_min_rate: Annotated[int, Meta(ge=0, le=1 << 30, extra=BYTES)] = 500
    #: A kept-alive connection without a request (nginx 75).
    idle_timeout: Seconds = 75.0
    #: A write that makes no progress because the peer does not read (nginx 60).
    write_stall_timeout: Seconds = 60.0
    #: An upgraded connection silent in both directions (Envoy 1 h).
    tunnel_idle_timeout: Seconds = 3600.0
    #: Reading on after an error answer so that it is not lost to a RST (nginx lingering_timeout 5).
    linger_timeout: Seconds = 2.0
    #: 1xx answers forwarded per request.
    interim_responses: Annotated[int, Meta(ge=1, le=1000)] = 64
    #: Chunk extensions and trailers per message, bytes; read and dropped.
    chunk_extra_bytes: Annotated[int, Meta(ge=256, le=65536, extra=BYTES)] = 16384


class Log(Base, frozen=True):
    """The access log."""

    #: "jsonl:stdout" or "jsonl:/path": one line per exchange; "" switches it off.
    access: LogSpec = ""


def no_admin() -> Admin:
    return Admin(listen="")


def no_ledger() -> Metering:
    return Metering(ledger="")


class Config(Base, frozen=True):
    """The whole configuration. At least one upstream is needed. Made in a program it opens no admin
    port and writes no file unless that is set. A file that leaves [admin] or [metering] out has
    their defaults."""

    upstream: tuple[Upstream, ...]
    #: More files, names or patterns ("conf.d/*.toml"), relative to this one; they include none.
    include: tuple[str, ...] = ()
    server: Server = field(default_factory=Server)
    admin: Admin = field(default_factory=no_admin)
    limits: Limits = field(default_factory=Limits)
    log: Log = field(default_factory=Log)
    #: Absent: no key is needed.
    auth: Auth | None = None
    metering: Metering = field(default_factory=no_ledger)
    otel: Otel = field(default_factory=Otel)

    def listens(self) -> tuple[str, ...]:
        """The addresses of server.listen."""
        return tuple(one.address for one in self.listeners())

    def listeners(self) -> tuple[Listen, ...]:
        """server.listen as structs."""
        given = self.server.listen
        each = (given,) if isinstance(given, str) else given
        return tuple(Listen(address=one) if isinstance(one, str) else one for one in each)
