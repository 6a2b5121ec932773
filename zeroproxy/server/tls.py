"""Certificates and keys in force: read, turned into contexts, handed to whoever opens connections.

Law 1. What can fail is done by `prepare` and `stage`, which change nothing; `adopt` cannot fail.
Law 2. A file is compared by what is in it: a reload that finds it changed puts it in force though
       the configuration says the same. Connections that are open keep what they began with.
Law 3. No key, and nothing of what is in a file, is ever shown.
Tests: tests/e2e/test_tls.py.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeroproxy._fast.engine.change import Change
from zeroproxy._fast.engine.engine import Engine
from zeroproxy._fast.engine.tls_context import Context
from zeroproxy.config.schema import Config, ServerTls, UpstreamTls
from zeroproxy.errors import TlsError
from zeroproxy.policy.addresses import Secure
from zeroproxy.policy.tls import context_for


@dataclass(frozen=True)
class Half:
    """The TLS of the listeners, or of one upstream's endpoints. `asks` is for Python's own
    questions; listeners ask none."""

    context: Context
    asks: ssl.SSLContext | None
    name: str
    mark: bytes


@dataclass(frozen=True)
class Prepared:
    """By upstream; None: in the clear."""

    server: Half | None
    upstreams: tuple[Half | None, ...]


def mark_of(settings: ServerTls | UpstreamTls, files: Iterable[str]) -> bytes:
    """What tells these settings and files from any others."""
    found = hashlib.sha256(repr(settings).encode())
    for name in files:
        data = Path(name).read_bytes() if name else b""
        found.update(b"%d:" % len(data) + data)
    return found.digest()


#: What a file of PEM has to hold, by the key that names it.
PEM = {
    "cert": (re.compile(rb"-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----"), "certificate"),
    "key": (re.compile(rb"-----BEGIN ([A-Z0-9]+ )?PRIVATE KEY-----"), "private key"),
}
LOCKED = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED")


def need_pem(tls: ServerTls | UpstreamTls) -> None:
    """What OpenSSL has no words of its own for. Raises TlsError with the key that is wrong."""
    for key in ("cert", "key", "client_ca", "ca"):
        path = getattr(tls, key, "")
        if not path:
            continue
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise TlsError(f"{key}: {path}: cannot be read: {error.strerror}") from None
        pattern, what = PEM.get(key, PEM["cert"])
        if not pattern.search(data):
            raise TlsError(f"{key}: {path}: is no PEM {what}")
        if key == "key" and LOCKED.search(data):
            raise TlsError(
                f"{key}: {path}: is protected by a password; keys have to be without one "
                "(openssl pkey -in KEY -out PLAIN)"
            )


def prepare_server(tls: ServerTls) -> Half:
    need_pem(tls)
    context = Context.server(cert=tls.cert, key=tls.key, client_ca=tls.client_ca)
    return Half(context, None, "", mark_of(tls, (tls.cert, tls.key, tls.client_ca)))


def prepare_upstream(tls: UpstreamTls) -> Half:
    need_pem(tls)
    context = Context.client(ca=tls.ca, cert=tls.cert, key=tls.key, verify=tls.verify)
    mark = mark_of(tls, (tls.ca, tls.cert, tls.key))
    return Half(context, context_for(tls), tls.server_name, mark)


def prepare(config: Config) -> Prepared:
    """Read every file; for a thread. Raises TlsError with the key that is wrong."""
    where = "server.tls"
    try:
        server = prepare_server(config.server.tls) if config.server.tls.cert else None
        upstreams: list[Half | None] = []
        for k, upstream in enumerate(config.upstream):
            where = f"upstream[{k}].tls"
            secure = upstream.is_secure()
            upstreams.append(prepare_upstream(upstream.tls) if secure else None)
    except (TlsError, OSError) as error:
        raise TlsError(f"{where}.{error}" if isinstance(error, TlsError) else
                       f"{where}: {error.filename}: {error.strerror}") from None  # fmt: skip
    return Prepared(server, tuple(upstreams))


class Tls:
    """What is in force in one engine."""

    def __init__(self, engine: Engine, prepared: Prepared) -> None:
        self._now = Prepared(None, ())
        self._secures: dict[int, Secure] = {}
        self._now = prepared
        if prepared.server is not None:
            engine.set_tls(prepared.server.context)

    def join(self, k: int, change: Change) -> None:
        """Upstream `k` has come into being; before its endpoints."""
        half = self._now.upstreams[k]
        if half is not None and half.asks is not None:
            change.set_tls(half.context, upstream=k, server_name=half.name.encode())
            self._ask(k, half.asks, half.name)

    def _ask(self, k: int, context: ssl.SSLContext, name: str) -> None:
        secure = self._secures.setdefault(k, Secure(context))
        secure.context, secure.name = context, name

    def secure(self, k: int) -> Secure | None:
        """How Python asks the endpoints of upstream `k`; None: they are in the clear."""
        return self._secures.get(k)

    def stage(self, change: Change, new: Prepared) -> list[str]:
        """Prepare what differs; returns the keys, whether it was they that changed or what is in
        their files. `adopt` is told when it is in force."""
        changed = []
        if mark(self._now.server) != mark(new.server):
            change.set_tls(new.server.context if new.server is not None else None)
            changed.append("server.tls")
        for k, half in enumerate(new.upstreams):
            if half is not None and mark(self._now.upstreams[k]) != half.mark:
                change.set_tls(half.context, upstream=k, server_name=half.name.encode())
                if half.asks is not None:
                    # What its new endpoints are given: it is the same object later.
                    self._secures.setdefault(k, Secure(half.asks, half.name))
                changed.append(f"upstream[{k}].tls")
        return changed

    def adopt(self, new: Prepared) -> None:
        """What `stage` has prepared is in force."""
        self._now = new
        for k, half in enumerate(new.upstreams):
            if half is not None and half.asks is not None:
                self._ask(k, half.asks, half.name)

    def snapshot(self) -> dict[str, Any]:
        """When the listeners' certificate ends, in seconds of the wall clock; None: no TLS."""
        server = self._now.server
        return {"expires": server.context.expires if server is not None else None}


def mark(half: Half | None) -> bytes:
    return half.mark if half is not None else b""
