"""Certificates and keys in force: read, turned into contexts, handed to those that connect.

Law 1. `prepare_tls` and `stage` can fail and change nothing in force: a change that is refused
       leaves an unused `ClientTls` at most. `adopt` cannot fail.
Law 2. A file is compared by its contents: a reload that finds it changed puts it in force though
       the configuration is the same. Connections that are open keep the context they began with.
Law 3. No key, and no contents of a file, is ever shown.
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
from zeroproxy._fast.engine.tls_context import Context
from zeroproxy.config.schema import Config, ServerTls, UpstreamTls
from zeroproxy.errors import TlsError
from zeroproxy.policy.socket_addresses import ClientTls
from zeroproxy.policy.tls import context_for


@dataclass(frozen=True)
class TlsPair:
    """The TLS of the listeners, or of one upstream's endpoints: `context` is the data plane's,
    `client` Python's own; listeners have none."""

    context: Context
    client: ssl.SSLContext | None
    name: str
    fingerprint: bytes


@dataclass(frozen=True)
class PreparedTls:
    """By upstream; None: in the clear."""

    server: TlsPair | None
    upstreams: tuple[TlsPair | None, ...]


def fingerprint_of(settings: ServerTls | UpstreamTls, files: Iterable[str]) -> bytes:
    """A digest of these settings and the contents of these files."""
    digest = hashlib.sha256(repr(settings).encode())
    for name in files:
        data = Path(name).read_bytes() if name else b""
        digest.update(b"%d:" % len(data) + data)
    return digest.digest()


#: The block that a file of PEM must hold, by the key that names it.
PEM = {
    "cert": (re.compile(rb"-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----"), "certificate"),
    "key": (re.compile(rb"-----BEGIN ([A-Z0-9]+ )?PRIVATE KEY-----"), "private key"),
}
LOCKED = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED")


def need_pem(tls: ServerTls | UpstreamTls) -> None:
    """Check what OpenSSL has no message for. Raises TlsError with the key that is wrong."""
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


def prepare_server(tls: ServerTls) -> TlsPair:
    need_pem(tls)
    context = Context.server(cert=tls.cert, key=tls.key, client_ca=tls.client_ca)
    return TlsPair(context, None, "", fingerprint_of(tls, (tls.cert, tls.key, tls.client_ca)))


def prepare_upstream(tls: UpstreamTls) -> TlsPair:
    need_pem(tls)
    context = Context.client(ca=tls.ca, cert=tls.cert, key=tls.key, verify=tls.verify)
    fingerprint = fingerprint_of(tls, (tls.ca, tls.cert, tls.key))
    return TlsPair(context, context_for(tls), tls.server_name, fingerprint)


def prepare_tls(config: Config) -> PreparedTls:
    """Read every file; for a thread. Raises TlsError with the key that is wrong."""
    where = "server.tls"
    try:
        server = prepare_server(config.server.tls) if config.server.tls.cert else None
        upstreams: list[TlsPair | None] = []
        for k, upstream in enumerate(config.upstream):
            where = f"upstream[{k}].tls"
            is_secure = upstream.is_secure()
            upstreams.append(prepare_upstream(upstream.tls) if is_secure else None)
    except (TlsError, OSError) as error:
        raise TlsError(f"{where}.{error}" if isinstance(error, TlsError) else
                       f"{where}: {error.filename}: {error.strerror}") from None  # fmt: skip
    return PreparedTls(server, tuple(upstreams))


class Tls:
    """The TLS in force in one engine; at first none."""

    def __init__(self) -> None:
        self._now = PreparedTls(None, ())
        self._clients: dict[int, ClientTls] = {}

    def _set_client(self, k: int, context: ssl.SSLContext, name: str) -> None:
        client_tls = self._clients.setdefault(k, ClientTls(context))
        client_tls.context, client_tls.name = context, name

    def client_tls(self, k: int) -> ClientTls | None:
        """TLS of Python's requests to upstream `k`; None: it is in the clear."""
        return self._clients.get(k)

    def stage(self, change: Change, new: PreparedTls) -> list[str]:
        """Prepare what differs; returns the keys that changed, or whose files did. Call `adopt`
        when it is in force."""
        changed = []
        if fingerprint(self._now.server) != fingerprint(new.server):
            change.set_tls(new.server.context if new.server is not None else None)
            changed.append("server.tls")
        for k, pair in enumerate(new.upstreams):
            old = self._now.upstreams[k] if k < len(self._now.upstreams) else None
            if pair is not None and fingerprint(old) != pair.fingerprint:
                change.set_tls(pair.context, upstream=k, server_name=pair.name.encode())
                if pair.client is not None:
                    # Its new endpoints get this object, and keep it.
                    self._clients.setdefault(k, ClientTls(pair.client, pair.name))
                changed.append(f"upstream[{k}].tls")
        return changed

    def adopt(self, new: PreparedTls) -> None:
        """The contexts of `stage` are in force."""
        self._now = new
        for k, pair in enumerate(new.upstreams):
            if pair is not None and pair.client is not None:
                self._set_client(k, pair.client, pair.name)

    def snapshot(self) -> dict[str, Any]:
        """When the listeners' certificate ends, in seconds of the wall clock; None: no TLS."""
        server = self._now.server
        return {"expires": server.context.expires if server is not None else None}


def fingerprint(pair: TlsPair | None) -> bytes:
    return pair.fingerprint if pair is not None else b""
