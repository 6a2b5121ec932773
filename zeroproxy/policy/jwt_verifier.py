"""One token (JWT, RFC 7519) against the issuers of the configuration.

Law 1. The algorithm is one of the configuration's and fits the key; all of them are asymmetric.
Law 2. iss, aud and exp are required; nbf and iat are checked where they are. A header with `crit`,
       or of another type, is refused.
Law 3. Terms come from verified claims alone. A claim that a term needs, and that is missing, empty
       or of another form, refuses the token.
Tests: tests/unit/test_jwt.py.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zeroproxy.config.jwt import Jwt, claim_of
from zeroproxy.config.schema import Key
from zeroproxy.policy.key_sets import KeySet

TYPES = ("jwt", "at+jwt", "application/at+jwt")
KID_MAX = 512
NAME_MAX = 64
MODELS_MAX = 256
MODEL_MAX = 256  # bytes of a model's name
LASTS_MOST = 86400.0  # seconds; a token with a later exp is verified again


class Refused(Exception):
    """`refusal`: as Engine.answer takes it."""

    def __init__(self, refusal: str, detail: str) -> None:
        super().__init__(detail)
        self.refusal = refusal


class UnknownKey(Exception):
    """No key of `key_set` fits the token."""

    def __init__(self, key_set: KeySet) -> None:
        super().__init__()
        self.key_set = key_set


@dataclass(frozen=True)
class Verified:
    """The key that a token stands for, until a time of the wall clock."""

    key: Key
    until: float


def invalid(detail: str) -> Refused:
    return Refused("invalid", detail)


def verify(token: str, sets: Mapping[str, KeySet]) -> Verified:
    """`sets` by issuer. Blocks for the signature. Raises Refused or UnknownKey."""
    import jwt

    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
    except Exception:  # JSON nested too deeply, numbers out of range: all of it is a bad token
        raise invalid("form") from None
    key_set = sets.get(claims["iss"]) if isinstance(claims.get("iss"), str) else None
    if key_set is None:
        raise invalid("issuer")
    alg, kid = check_header(header, key_set.settings)
    candidates = key_set.candidates(kid, alg)
    if not candidates:
        raise UnknownKey(key_set)
    claims = checked(token, alg, [one.key for one in candidates], key_set.settings)
    return verdict(claims, key_set.settings)


def check_header(header: Mapping[str, Any], settings: Jwt) -> tuple[str, str]:
    """Its algorithm and kid."""
    alg, kid = header.get("alg"), header.get("kid", "")
    if alg not in settings.algorithms:
        raise invalid("algorithm")
    if "crit" in header or "b64" in header:
        raise invalid("critical header")
    if str(header.get("typ", "jwt")).lower() not in TYPES:
        raise invalid("type")
    if not isinstance(kid, str) or len(kid) > KID_MAX:
        raise invalid("kid")
    return str(alg), kid


def checked(token: str, alg: str, keys: Sequence[Any], settings: Jwt) -> dict[str, Any]:
    """The claims, by the first key that has signed them."""
    import jwt

    for key in keys:
        try:
            return jwt.decode(
                token, key, algorithms=[alg], audience=settings.audiences(),
                issuer=settings.issuer, leeway=settings.leeway,
                options={"require": ["exp", "iss", "aud"]},
            )  # fmt: skip
        except jwt.InvalidSignatureError:
            continue
        except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError):
            raise Refused("time", "time") from None
        except Exception as error:
            raise invalid(type(error).__name__) from None
    raise invalid("signature")


# ---------------------------------------------------------------- terms


def claim_at(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by a path with dots, as realm_access.team. None: it is missing."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def text_of(claims: Mapping[str, Any], value: str) -> str:
    """The text that `name` or `tenant` of the configuration stands for."""
    name = claim_of(value)
    found = claim_at(claims, name) if name else value
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    if not isinstance(found, str) or not found or len(found) > 1024:
        raise invalid(f"claim {name}")
    return found


def label_of(text: str) -> str:
    """`text` as a name of keys and tenants. One that cannot be gets a digest, so that no two are
    the same."""
    if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text):
        return text
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", text)[: NAME_MAX - 9]
    return f"{plain}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]}"


def models_of(claims: Mapping[str, Any], value: str) -> tuple[str, ...]:
    if not value:
        return ()
    found = claim_at(claims, claim_of(value))
    if isinstance(found, str):
        found = found.split()
    if not isinstance(found, list) or not 0 < len(found) <= MODELS_MAX:
        raise invalid("claim of models")
    if not all(isinstance(m, str) and 0 < len(m.encode("utf-8", "replace")) <= MODEL_MAX
               for m in found):  # fmt: skip
        raise invalid("claim of models")
    return tuple(sorted(set(found)))


def verdict(claims: Mapping[str, Any], settings: Jwt) -> Verified:
    name = text_of(claims, settings.name)
    tenant = text_of(claims, settings.tenant) if settings.tenant else name
    models = models_of(claims, settings.models)
    whose = "\0".join(("", "token", settings.issuer, name, tenant, *models))
    key = Key(
        sha256=hashlib.sha256(whose.encode("utf-8", "replace")).hexdigest(),
        name=label_of(name), tenant=label_of(tenant), models=models, priority=settings.priority,
        requests_per_minute=settings.requests_per_minute,
        tokens_per_minute=settings.tokens_per_minute, allow_from=settings.allow_from,
    )  # fmt: skip
    return Verified(key, min(float(claims["exp"]) + settings.leeway, time.time() + LASTS_MOST))
