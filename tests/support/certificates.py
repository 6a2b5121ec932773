"""Certificates for tests, made with the openssl command on the spot."""

from __future__ import annotations

import functools
import ssl
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path


def openssl(*words: str) -> None:
    done = subprocess.run(("openssl", *words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    cert: str
    key: str

    def server(self, *, client_ca: str = "", highest: ssl.TLSVersion | None = None):
        """The context of a server with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        if highest is not None:
            context.maximum_version = highest
        if client_ca:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class Authority:
    """A root of our own, and what it signs. Names: "DNS:a.test", "IP:127.0.0.1"."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.ca = str(folder / f"{name}.pem")
        self._key = str(folder / f"{name}.key")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", self._key, "-out", self.ca, "-days", "2", "-subj", f"/CN={name}",
                "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip

    def sign(self, name: str, *names: str, days: int = 2) -> Pair:
        """`days` below 0: it has ended already."""
        at = self.folder / f"{self.name}-{name}"
        pair = Pair(f"{at}.pem", f"{at}.key")
        request, extra = f"{at}.csr", Path(f"{at}.ext")
        extra.write_text(f"subjectAltName={','.join(names)}\n" if names else "")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", pair.key, "-out", request, "-subj", f"/CN={name}")  # fmt: skip
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._key,
                "-CAcreateserial", "-out", pair.cert, "-days", str(days),
                "-extfile", str(extra))  # fmt: skip
        return pair

    def client(self, pair: Pair | None = None, highest: ssl.TLSVersion | None = None):
        """The context of a client that trusts this root, and shows `pair` on request."""
        context = ssl.create_default_context(cafile=self.ca)
        if pair is not None:
            context.load_cert_chain(pair.cert, pair.key)
        if highest is not None:
            context.maximum_version = highest
        return context


class Certificates:
    """All that the tests share; made once per run."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="zp-tls-")
        self.folder = Path(self._folder.name)
        self.authority = Authority(self.folder, "authority")
        self.stranger = Authority(self.folder, "stranger")
        names = ("DNS:a.test", "DNS:localhost", "IP:127.0.0.1")
        self.server = self.authority.sign("server", *names)
        self.renewed = self.authority.sign("renewed", *names)
        self.expired = self.authority.sign("expired", *names, days=-1)
        self.elsewhere = self.authority.sign("elsewhere", "DNS:elsewhere.test", "IP:127.9.9.9")
        self.caller = self.authority.sign("caller")
        self.unknown = self.stranger.sign("unknown", *names)


@functools.cache
def certificates() -> Certificates:
    return Certificates()
