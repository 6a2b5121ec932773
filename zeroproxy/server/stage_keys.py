"""API keys of the configuration, handed to the engine."""

from __future__ import annotations

from collections.abc import Sequence

from zeroproxy._fast.engine.change import Change
from zeroproxy.config.schema import Auth, Key


def stage_keys(
    change: Change, auth: Auth | None, identity: str = "", callers: Sequence[Key] = ()
) -> dict[str, int]:
    """These may ask, and nobody else; returns where the engine has each, by digest. None:
    everybody. `callers`: keys that tokens stand for; `identity`: server.tls.identity."""
    if auth is None:
        change.set_keys(None)
        return {}
    keys = (*auth.key, *callers)
    indices = change.set_keys(
        keys,
        forward=auth.forward,
        headers=auth.headers,
        salt_secret=auth.cache_salt_secret.encode(),
        identity=identity,
    )
    return {key.digest(): k for key, k in zip(keys, indices, strict=True)}
