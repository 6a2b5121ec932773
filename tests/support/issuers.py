"""Issuers of tokens (JWT) for tests: keys of every kind, and tokens however wrong."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

jwt = pytest.importorskip("jwt", reason="NO PYJWT: pip install 'PyJWT[crypto]'")
ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")

ISSUER, AUDIENCE = "https://issuer.test", "zeroproxy"
KINDS: dict[str, Any] = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "PS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": lambda: ed25519.Ed25519PrivateKey.generate(),
}
FAMILIES = {"R": "RSAAlgorithm", "P": "RSAAlgorithm", "E": "ECAlgorithm"}


def b64(data: bytes | str | dict[str, Any]) -> str:
    if isinstance(data, dict):
        data = json.dumps(data)
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class SigningKey:
    def __init__(self, alg: str = "ES256", kid: str = "one") -> None:
        self.alg, self.kid = alg, kid
        self.key = KINDS[alg]()

    def public(self, **more: Any) -> dict[str, Any]:
        """Its member of a JWKS."""
        name = "OKPAlgorithm" if self.alg == "EdDSA" else FAMILIES[self.alg[0]]
        member = json.loads(getattr(jwt.algorithms, name).to_jwk(self.key.public_key()))
        return {**member, "kid": self.kid, "alg": self.alg, "use": "sig", **more}

    def pem(self) -> bytes:
        found: bytes = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return found

    def sign(self, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token. A claim or a part of the header that is None is left out."""
        found = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "caller",
            "exp": time.time() + 600,
            **claims,
        }
        head = {"alg": self.alg, "kid": self.kid, "typ": "JWT", **(header or {})}
        text = b64({k: v for k, v in head.items() if v is not None}) + "."
        text += b64({k: v for k, v in found.items() if v is not None})
        algorithm = jwt.get_algorithm_by_name(self.alg)
        return f"{text}.{b64(algorithm.sign(text.encode(), self.key))}"


def key_set(*keys: SigningKey) -> bytes:
    return json.dumps({"keys": [key.public() for key in keys]}).encode()
