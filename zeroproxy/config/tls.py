"""The configuration of TLS, in front and behind (docs/tls.md)."""

from __future__ import annotations

from typing import Literal

from zeroproxy.config.base import Base


class ServerTls(Base, frozen=True):
    """TLS on the TCP listeners; unix sockets stay in the clear. Files are PEM."""

    #: The certificate and its intermediates; "": no TLS.
    cert: str = ""
    #: Its private key, without a password.
    key: str = ""
    #: Callers need a certificate signed by one of these; "": they need none.
    client_ca: str = ""
    #: The name in a caller's certificate that auth.key.certificate is compared with: of its
    #: subject, or of its alternative names. "": no certificate stands for a key.
    identity: Literal["", "cn", "san-dns", "san-uri"] = ""


class UpstreamTls(Base, frozen=True):
    """TLS to the endpoints that are https://. Files are PEM."""

    #: Authorities that may sign the endpoints' certificates; "": those of the system.
    ca: str = ""
    #: The certificate we show, for endpoints that ask for one; "": none.
    cert: str = ""
    #: Its private key, without a password.
    key: str = ""
    #: false: anybody may answer. For a test, never for keys and prompts.
    verify: bool = True
    #: The name that the certificate must hold, where it is not the host of the URL.
    server_name: str = ""
