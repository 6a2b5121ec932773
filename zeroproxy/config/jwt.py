"""The configuration of tokens (JWT) instead of API keys, and its checks (docs/keys.md)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from msgspec import Meta

from zeroproxy.config.base import SECONDS, Base, Count

#: Signatures with a public key alone: no secret is shared, so none can be confused with a key.
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
ALGORITHMS: tuple[str, ...] = get_args(Algorithm)
#: A value, or the claim that has it.
CLAIM = "claim:"
LOOPBACK = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\])[:/]")
Text = Annotated[str, Meta(min_length=1, max_length=512)]


class Jwt(Base, frozen=True):
    """One issuer of tokens."""

    #: The token's `iss`, exactly.
    issuer: Text
    #: The token's `aud` must have one of these.
    audience: Text | tuple[Text, ...]
    #: Its public keys (RFC 7517): an https:// URL, or the absolute path of a file.
    jwks: Text
    #: Signatures that are accepted.
    algorithms: Annotated[tuple[Algorithm, ...], Meta(min_length=1)] = ("RS256", "ES256", "EdDSA")
    #: Name of the caller's key in /status and metrics: "claim:NAME", or a text for all.
    name: Text = "claim:sub"
    #: The owner of its usage: "claim:NAME", or a text for all; "": its name.
    tenant: Annotated[str, Meta(max_length=512)] = ""
    #: The claim with the models it may ask for, "claim:NAME": a list, or names between blanks.
    #: "": all.
    models: Annotated[str, Meta(max_length=512)] = ""
    #: Terms of each caller, as those of a key.
    priority: Annotated[int, Meta(ge=0, le=9)] = 5
    requests_per_minute: Count = 0
    tokens_per_minute: Count = 0
    allow_from: tuple[str, ...] = ()
    #: Seconds by which the clocks may differ.
    leeway: Annotated[float, Meta(ge=0, le=600, extra=SECONDS)] = 30.0
    #: Seconds between two readings of `jwks`. A token with an unknown key causes one more.
    jwks_ttl: Annotated[float, Meta(ge=10, le=86400, extra=SECONDS)] = 300.0

    def audiences(self) -> tuple[str, ...]:
        return (self.audience,) if isinstance(self.audience, str) else self.audience


def claim_of(value: str) -> str:
    """The claim that `value` names; "": it is a text."""
    return value.removeprefix(CLAIM) if value.startswith(CLAIM) else ""


def is_plain_url(url: str) -> bool:
    """True for a URL that may be logged."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        return False


def issuer_problem(one: Jwt) -> tuple[str, str] | None:
    """The key that is wrong and why; None: none is."""
    if not one.audiences():
        return "audience", "is empty: tokens for anybody else would be accepted"
    if not one.jwks.startswith(("https://", "/")) and not LOOPBACK.match(one.jwks):
        return "jwks", "is neither an https:// URL nor an absolute path"
    if not one.jwks.startswith("/") and not is_plain_url(one.jwks):
        return "jwks", "is no URL, or has a user in it"
    if one.models and not claim_of(one.models):
        return "models", "names no claim: claim:NAME"
    for key in ("name", "tenant"):
        value = getattr(one, key)
        if value == CLAIM:
            return key, "names no claim: claim:NAME"
        if value and not claim_of(value) and not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value):
            return key, 'is neither claim:NAME nor letters, digits, ".", "_" and "-"'
    return None


def repeated(all_: Sequence[Jwt]) -> int:
    """The place of an issuer that is there twice; -1: none is."""
    issuers = [one.issuer for one in all_]
    return next((k for k, issuer in enumerate(issuers) if issuer in issuers[:k]), -1)
