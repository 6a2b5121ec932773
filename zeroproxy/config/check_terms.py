"""Checks of the terms of keys, and of what engines get to know of them; as in validate.py."""

from __future__ import annotations

from collections.abc import Sequence

from zeroproxy.config.base import KeyPath, Wrong
from zeroproxy.config.schema import Config, Key, Upstream

#: Characters of a secret that nobody guesses.
SALT_SECRET_MIN = 16


def check_key_upstreams(
    keys: Sequence[Key], upstreams: Sequence[Upstream], path: KeyPath, wrong: Wrong
) -> None:
    names = [upstream.name for upstream in upstreams]
    for k, key in enumerate(keys):
        for j, name in enumerate(key.upstreams):
            if name not in names:
                raise wrong(f"no upstream is called {name}; there are {', '.join(names)}",
                            (*path, k, "upstreams", j))  # fmt: skip


def check_terms(keys: Sequence[Key], path: KeyPath, wrong: Wrong) -> None:
    for k, key in enumerate(keys):
        if isinstance(key.max_tokens, int) and 0 < key.max_tokens < key.max_tokens_default:
            raise wrong(f"is more than max_tokens = {key.max_tokens}",
                        (*path, k, "max_tokens_default"))  # fmt: skip
        if key.over_inflight != "refuse" and not key.max_inflight:
            raise wrong("is for requests above max_inflight, which is not set",
                        (*path, k, "over_inflight"))  # fmt: skip


def check_salt_secret(secret: str, path: KeyPath, wrong: Wrong) -> None:
    """It is not quoted."""
    if len(secret) < SALT_SECRET_MIN:
        raise wrong(f"is shorter than {SALT_SECRET_MIN} characters, which can be guessed", path)


def check_engine_terms(config: Config, wrong: Wrong) -> None:
    """Settings that pass something of a key on to engines."""
    for k, upstream in enumerate(config.upstream):
        here: KeyPath = ("upstream", k)
        if upstream.engine_priority != "off":
            if config.auth is None:
                raise wrong("passes the priority of a caller's key on, and there is no [auth]",
                            (*here, "engine_priority"))  # fmt: skip
            if upstream.preset not in ("", "openai", "vllm", "sglang"):
                raise wrong(f"is for vLLM and SGLang, and preset is {upstream.preset}",
                            (*here, "engine_priority"))  # fmt: skip
        if upstream.cache_salt == "off":
            continue
        if config.auth is None:
            raise wrong("keeps callers with different keys apart, and there is no [auth]",
                        (*here, "cache_salt"))  # fmt: skip
        if not config.auth.cache_salt_secret and not config.auth.cache_salt_secret_file:
            raise wrong("needs auth.cache_salt_secret, or a file that holds it",
                        (*here, "cache_salt"))  # fmt: skip
