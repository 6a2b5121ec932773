"""Public keys of issuers of tokens (JWKS, RFC 7517): read, fetched, renewed.

Law 1. Keys come from the configured place alone. Keys and places in a token (jku, x5u, jwk, x5c)
       are never looked at. Its kid is compared with names, and nothing else.
Law 2. Only public keys are kept: a shared secret (oct) or a private key in the set is passed over.
Law 3. A set that cannot be read leaves the old one in force.
Tests: tests/unit/test_jwt.py.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from zeroproxy.config.jwt import Jwt
from zeroproxy.errors import ConfigError, ZeroproxyError, how_to_install
from zeroproxy.tasks import within

log = logging.getLogger(__name__)

SET_MAX = 1 << 20  # bytes of a set
FETCH = 5.0  # seconds
#: Seconds between two fetches that tokens with unknown keys cause.
UNKNOWN_EVERY = 10.0
RSA_LEAST = 2048  # bits (NIST SP 800-131A)
CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


def need_jwt() -> None:
    """Blocks for an import. Raises ZeroproxyError."""
    try:
        importlib.import_module("jwt")
        importlib.import_module("cryptography.hazmat.primitives.asymmetric.rsa")
    except ImportError:
        raise ZeroproxyError(f"auth.jwt needs the package PyJWT: {how_to_install('jwt')}") from None


@dataclass(frozen=True)
class PublicKey:
    """`alg` "": any that fits its kind; `kind`: RSA, OKP, or the curve of an EC key."""

    kid: str
    alg: str
    kind: str
    key: Any
    #: The members that make it, to tell keys apart.
    members: str

    def fits(self, alg: str) -> bool:
        if self.alg and self.alg != alg:
            return False
        if alg == "EdDSA":
            return self.kind == "OKP"
        return self.kind == CURVES.get(alg, "RSA")


def public_key(member: dict[str, Any]) -> PublicKey | None:
    """One key of a set; None: it is none that may sign tokens here."""
    import jwt

    kinds: dict[str, Any] = {
        "RSA": jwt.algorithms.RSAAlgorithm, "EC": jwt.algorithms.ECAlgorithm,
        "OKP": jwt.algorithms.OKPAlgorithm,
    }  # fmt: skip
    family = member.get("kty")
    if family not in kinds or "d" in member or member.get("use", "sig") != "sig":
        return None
    try:
        key: Any = kinds[family].from_jwk(member)
    except Exception as error:  # whatever a library makes of a strange key
        log.warning(f"a key of a JWKS is passed over: {type(error).__name__}")
        return None
    if family == "RSA" and key.key_size < RSA_LEAST:
        log.warning(f"a key of a JWKS is passed over: RSA with less than {RSA_LEAST} bits")
        return None
    kid, alg = member.get("kid", ""), member.get("alg", "")
    if not isinstance(kid, str) or not isinstance(alg, str):
        return None
    kind = str(member.get("crv")) if family == "EC" else str(family)
    return PublicKey(kid, alg, kind, key, json.dumps(member, sort_keys=True))


def read_set(data: bytes) -> list[PublicKey]:
    """The keys of a JWKS. Raises ValueError with a sentence."""
    try:
        members = json.loads(data)["keys"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise ValueError("is no JWKS: a JSON object with a list of keys") from None
    if not isinstance(members, list):
        raise ValueError("is no JWKS: its keys are no list")
    found = [public_key(member) for member in members if isinstance(member, dict)]
    keys = [key for key in found if key is not None]
    if not keys:
        raise ValueError("has no public key that may sign tokens")
    return keys


def read_file(path: str) -> list[PublicKey]:
    """Raises ConfigError."""
    try:
        return read_set(Path(path).read_bytes()[:SET_MAX])
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    except ValueError as error:
        message = str(error)
    raise ConfigError(message, file=path, key="auth.jwt.jwks")


def check_issuers(issuers: Sequence[Jwt]) -> None:
    """Check for packages, and sets that are files. Raises ZeroproxyError."""
    need_jwt()
    for one in issuers:
        if one.jwks.startswith("/"):
            read_file(one.jwks)


async def fetch(url: str) -> list[PublicKey]:
    """Raises ValueError, OSError, TimeoutError or aiohttp.ClientError."""
    async with (
        aiohttp.ClientSession(trust_env=False) as session,
        session.get(url, allow_redirects=False) as response,
    ):
        if response.status != 200:
            raise ValueError(f"returned {response.status}")
        data = bytearray()
        async for part in response.content.iter_any():
            data += part
            if len(data) > SET_MAX:
                raise ValueError(f"is longer than {SET_MAX} bytes")
    return read_set(bytes(data))


class KeySet:
    """The keys of one issuer. `on_lost`: a key that has been in force is gone."""

    def __init__(self, settings: Jwt, on_lost: Callable[[], None]) -> None:
        self.settings = settings
        self.keys: list[PublicKey] = []
        self.error = ""
        self._on_lost = on_lost
        self._read_at = self._tried_at = float("-inf")
        self._lock = asyncio.Lock()

    def candidates(self, kid: str, alg: str) -> list[PublicKey]:
        """The keys that may have signed a token; of one without a kid any."""
        return [key for key in self.keys if (not kid or key.kid == kid) and key.fits(alg)]

    def age(self) -> float | None:
        """Seconds since it was read; None: it never was."""
        return time.monotonic() - self._read_at if self.keys else None

    async def renew_for_unknown(self, since: float) -> bool:
        """Read the set again for a token with an unknown key, unless that was done a moment ago.
        True: it has been read after the monotonic time `since`."""
        async with self._lock:
            if time.monotonic() - self._tried_at >= UNKNOWN_EVERY:
                await self._renew()
        return self._read_at >= since

    async def renew(self) -> None:
        """Read the set again. A failure is logged when it begins, and leaves the old one."""
        async with self._lock:
            await self._renew()

    async def _renew(self) -> None:
        self._tried_at = time.monotonic()
        try:
            keys = await self._read()
        except Exception as error:  # a resolver, TLS, a server: anything may fail
            reason = str(error) or type(error).__name__
            if not self.error:
                log.warning(f"{self.settings.jwks} {reason}; {len(self.keys)} keys stay in force")
            self.error = reason
            return
        if self.error:
            log.info(f"{self.settings.jwks} is read again")
        lost = {key.members for key in self.keys} - {key.members for key in keys}
        self.keys, self.error, self._read_at = keys, "", time.monotonic()
        if lost:
            self._on_lost()

    async def _read(self) -> list[PublicKey]:
        place = self.settings.jwks
        if place.startswith("/"):
            return await asyncio.to_thread(read_file, place)
        return await within(FETCH, fetch(place))
