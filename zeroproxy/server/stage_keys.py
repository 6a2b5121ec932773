"""API keys of the configuration, handed to the engine."""

from __future__ import annotations

from zeroproxy._fast.engine.change import Change
from zeroproxy.config.schema import Auth


def stage_keys(change: Change, auth: Auth | None) -> dict[str, int]:
    """These may ask, and nobody else; returns where the engine has each, by digest. None:
    everybody."""
    if auth is None:
        change.set_keys(None)
        return {}
    indices = change.set_keys(
        auth.key,
        forward=auth.forward,
        headers=auth.headers,
        salt_secret=auth.cache_salt_secret.encode(),
    )
    return {key.sha256: k for key, k in zip(auth.key, indices, strict=True)}
