"""API keys of the configuration as the engine takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zeroproxy._fast.engine import Engine
from zeroproxy.config import Auth, Key

if TYPE_CHECKING:
    from zeroproxy._fast.engine import KeyRow


def row_of(key: Key) -> KeyRow:
    return (
        bytes.fromhex(key.sha256), key.name, key.owner(), key.priority, key.models,
        key.requests_per_minute, key.tokens_per_minute,
    )  # fmt: skip


def put_in_force(engine: Engine, auth: Auth | None) -> dict[str, int]:
    """From now on these may ask; returns where the engine has each, by digest. None: everybody."""
    if auth is None:
        engine.set_keys(None)
        return {}
    indices = engine.set_keys([row_of(key) for key in auth.key], auth.forward)
    return {key.sha256: k for key, k in zip(auth.key, indices, strict=True)}
