"""The configuration of API keys: their tenants, and what each of them allows (docs/keys.md)."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Literal

from msgspec import Meta, field

from zeroproxy.config.base import BYTES, SECONDS, SECRET, Base, Count, Name, Secret
from zeroproxy.config.jwt import Jwt

#: As requests name it; the data plane keeps 256 bytes.
Model = Annotated[str, Meta(min_length=1, max_length=256)]
OptionalName = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9._-]*$")]


#: The default of a key's `expires`.
NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


class Key(Base, frozen=True):
    """One API key, known by its digest; `zeroproxy key` makes one."""

    #: SHA-256 of the key, 64 hex digits. The key itself is written nowhere. "": `certificate` is.
    sha256: Annotated[str, Meta(pattern=r"^([0-9A-Fa-f]{64})?$", extra=SECRET)] = ""
    #: Instead of a key: the name in the caller's certificate, as server.tls.identity reads it.
    certificate: Annotated[str, Meta(max_length=512)] = ""
    #: Its name in /status and metrics; "": its number.
    name: OptionalName = ""
    #: The owner of its usage in records, ledger and metrics; "": its name, or "default".
    tenant: OptionalName = ""
    #: 0 to 9; a lower one is served earlier, as in vLLM.
    priority: Annotated[int, Meta(ge=0, le=9)] = 5
    #: Models it may ask for, as requests spell them; empty: all.
    models: tuple[Model, ...] = ()
    #: Networks that its callers may come from, "10.0.0.0/8" or one address each; "unix": those on
    #: a unix socket. Empty: from everywhere. Any other gets 403.
    allow_from: tuple[str, ...] = ()
    #: "all": the surface of an upstream does not hold for it (docs/surface.md): an operator's key.
    surface: Literal["", "all"] = ""
    #: Requests it may begin in a minute; above it: 429. 0: no limit.
    requests_per_minute: Count = 0
    #: Tokens, prompt and completion, it may use up in a minute; 0: no limit.
    tokens_per_minute: Count = 0
    #: Requests it may have in flight; 0: no limit.
    max_inflight: Annotated[int, Meta(ge=0, le=1 << 20)] = 0
    #: A request above max_inflight: refuse answers 429, wait lets it wait for its turn, up to
    #: admission.queue_timeout of its upstream.
    over_inflight: Literal["refuse", "wait"] = "refuse"
    #: From then on it is refused; an offset date-time.
    expires: Annotated[datetime, Meta(tz=True)] = NEVER
    #: It is refused, and keeps its place and its name.
    disabled: bool = False
    #: Upstreams it may use, by name; empty: all.
    upstreams: tuple[Name, ...] = ()
    #: Bytes of a request's body, all of it: messages, tools, images; above it: 413. 0: no limit.
    prompt_bytes: Annotated[int, Meta(ge=0, le=1 << 40, extra=BYTES)] = 0
    #: Choices of a request (n, best_of); above it: 400. 0: no limit.
    n: Annotated[int, Meta(ge=0, le=65535)] = 0
    #: Tokens of each choice of an answer; a request that names more, or none, gets this bound.
    #: "model": what the engine's model holds. 0: no limit.
    max_tokens: Annotated[int, Meta(ge=0, le=(1 << 31) - 1)] | Literal["model"] = 0
    #: The bound where a request names none, at most max_tokens; 0: max_tokens.
    max_tokens_default: Annotated[int, Meta(ge=0, le=(1 << 31) - 1)] = 0

    def digest(self) -> str:
        """Hex digits by which the data plane finds it (request/certificate_key)."""
        if not self.certificate:
            return self.sha256.lower()
        return hashlib.sha256(b"\0certificate\0" + self.certificate.encode()).hexdigest()

    def owner(self) -> str:
        return self.tenant or self.name or "default"


class Shared(Base, frozen=True):
    """Quotas that several proxies share through Redis (package redis)."""

    #: redis://, rediss:// or unix://; or the file that holds it. Neither: each proxy for itself.
    url: Secret = ""
    url_file: str = ""
    #: Prefix of all its Redis keys; the same for all proxies that share.
    prefix: Annotated[str, Meta(min_length=1, max_length=128)] = "zeroproxy:quota"
    #: Seconds between two settlements of a key that is used.
    interval: Annotated[float, Meta(ge=0.05, le=10, extra=SECONDS)] = 1.0
    #: Without an answer for so long, each proxy keeps to its part of the quota.
    patience: Annotated[float, Meta(ge=0.1, le=60, extra=SECONDS)] = 3.0


class Auth(Base, frozen=True):
    """API keys that are accepted. Without this table everybody who reaches the port is served."""

    key: tuple[Key, ...] = ()
    #: Issuers of tokens (JWT) that are accepted instead of keys.
    jwt: tuple[Jwt, ...] = ()
    #: A TOML file with more [[key]] tables, relative to the working directory, read again by every
    #: reload; "": none.
    keys_file: str = ""
    #: Pass callers' keys on to upstreams that have no api_key of their own.
    forward: bool = False
    #: Answers carry what is left of the key's quotas: x-ratelimit-*, or anthropic-ratelimit-*.
    headers: bool = False
    #: The secret that upstream.cache_salt is made with; or the file that holds it.
    cache_salt_secret: Secret = ""
    cache_salt_secret_file: str = ""
    shared: Shared = field(default_factory=Shared)


class KeysFile(Base, frozen=True):
    """The contents of auth.keys_file."""

    key: tuple[Key, ...] = ()
