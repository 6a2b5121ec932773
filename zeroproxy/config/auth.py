"""The configuration of API keys: their tenants, and what each of them allows (docs/keys.md)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from zeroproxy.config.base import Base, Count

#: As requests name it; the data plane keeps 256 bytes.
Model = Annotated[str, Meta(min_length=1, max_length=256)]
OptionalName = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9._-]*$")]


def shown(struct: Struct, *secrets: str) -> str:
    """A repr without the values of `secrets`; that there is one is no secret."""
    values = {
        name: "..." if name in secrets and getattr(struct, name) else getattr(struct, name)
        for name in struct.__struct_fields__
    }
    inside = ", ".join(f"{name}={value!r}" for name, value in values.items())
    return f"{type(struct).__name__}({inside})"


class Key(Base, frozen=True):
    """One API key, known by its digest; `zeroproxy key` makes one."""

    #: SHA-256 of the key, 64 hex digits. The key itself is written nowhere.
    sha256: Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{64}$")]
    #: Its name in /status and metrics; "": its number.
    name: OptionalName = ""
    #: The owner of its usage in records, ledger and metrics; "": its name, or "default".
    tenant: OptionalName = ""
    #: 0 to 9; a lower one is served earlier, as in vLLM.
    priority: Annotated[int, Meta(ge=0, le=9)] = 5
    #: Models it may ask for, as requests spell them; empty: all.
    models: tuple[Model, ...] = ()
    #: "all": the surface of an upstream does not hold for it (docs/surface.md): an operator's key.
    surface: Literal["", "all"] = ""
    #: Requests it may begin in a minute; above it: 429. 0: no limit.
    requests_per_minute: Count = 0
    #: Tokens, prompt and completion, it may use up in a minute; 0: no limit.
    tokens_per_minute: Count = 0

    def __repr__(self) -> str:
        return shown(self, "sha256")

    def owner(self) -> str:
        return self.tenant or self.name or "default"


class Shared(Base, frozen=True):
    """Quotas that several proxies share through Redis (package redis)."""

    #: redis://, rediss:// or unix://; or the file that holds it. Neither: each proxy for itself.
    url: str = ""
    url_file: str = ""
    #: Prefix of all its Redis keys; the same for all proxies that share.
    prefix: Annotated[str, Meta(min_length=1, max_length=128)] = "zeroproxy:quota"
    #: Seconds between two settlements of a key that is used.
    interval: Annotated[float, Meta(ge=0.05, le=10)] = 1.0
    #: Without an answer for so long, each proxy keeps to its part of the quota.
    patience: Annotated[float, Meta(ge=0.1, le=60)] = 3.0

    def __repr__(self) -> str:
        return shown(self, "url")


class Auth(Base, frozen=True):
    """API keys that are accepted. Without this table everybody who reaches the port is served."""

    key: tuple[Key, ...] = ()
    #: A TOML file with more [[key]] tables, relative to the working directory, read again by every
    #: reload; "": none.
    keys_file: str = ""
    #: Pass callers' keys on to upstreams that have no api_key of their own.
    forward: bool = False
    shared: Shared = field(default_factory=Shared)


class KeysFile(Base, frozen=True):
    """The contents of auth.keys_file."""

    key: tuple[Key, ...] = ()
