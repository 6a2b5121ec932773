"""API keys of the configuration as the engine takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zeroproxy._fast.engine.change import Change
from zeroproxy.config.schema import Auth, Key

if TYPE_CHECKING:
    from zeroproxy._fast.engine.engine import KeyRow


def row_of(key: Key) -> KeyRow:
    return (
        bytes.fromhex(key.sha256), key.name, key.owner(), key.priority, key.models,
        key.requests_per_minute, key.tokens_per_minute,
    )  # fmt: skip


def stage_keys(change: Change, auth: Auth | None) -> dict[str, int]:
    """These may ask, and nobody else; returns where the engine has each, by digest. None:
    everybody."""
    if auth is None:
        change.set_keys(None)
        return {}
    indices = change.set_keys([row_of(key) for key in auth.key], auth.forward)
    return {key.sha256: k for key, k in zip(auth.key, indices, strict=True)}
