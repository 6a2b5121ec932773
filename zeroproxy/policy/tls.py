"""TLS of the requests from Python: health, readiness, the list of models, `check`.

The data plane has a context of its own with the same settings (server/tls.py makes both).
"""

from __future__ import annotations

import asyncio
import ssl

from zeroproxy.config.schema import UpstreamTls
from zeroproxy.errors import TlsError
from zeroproxy.policy.socket_addresses import Address

MINIMUM = ssl.TLSVersion.TLSv1_2


def reason(error: OSError) -> str:
    """The fault, without OpenSSL's place in its source: "self-signed certificate"."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message.removesuffix('.')}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
    return ""


def context_for(tls: UpstreamTls) -> ssl.SSLContext:
    """Raises TlsError with the key that is wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = MINIMUM
    context.set_alpn_protocols(["http/1.1"])
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    key, path = "ca", tls.ca
    try:
        if tls.ca:
            context.load_verify_locations(tls.ca)
        elif tls.verify:
            context.load_default_certs()
        if tls.cert:
            key, path = "cert", tls.cert
            context.load_cert_chain(tls.cert, tls.key, no_password)
    except OSError as error:
        why = error.strerror or reason(error) or str(error)
        raise TlsError(f"{key}: {path}: {why}") from None
    return context


def no_password() -> str:
    """Without it OpenSSL would ask on the terminal."""
    return ""


async def connect(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the address, the handshake included. Raises OSError."""
    if isinstance(address.target, str):
        return await asyncio.open_unix_connection(address.target)
    return await asyncio.open_connection(
        *address.target, ssl=address.context, server_hostname=address.server_name
    )
