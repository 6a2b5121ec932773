"""API keys for tests."""

import hashlib
import json

from zeroproxy.config.schema import Key

FORMS = {
    "bearer": b"Authorization: Bearer %s\r\n",
    "any case": b"authorization: BEARER  %s\r\n",
    "anthropic": b"x-api-key: %s\r\n",
    "azure": b"api-key: %s\r\n",
}


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def row(key, *, name="", tenant="t", priority=5, models=(), requests=0, tokens=0, **terms):
    """A key as Engine.set_keys takes it."""
    return Key(
        sha256=digest(key).hex(), name=name, tenant=tenant, priority=priority, models=models,
        requests_per_minute=requests, tokens_per_minute=tokens, **terms,
    )  # fmt: skip


def shows(key: str) -> bytes:
    """The header line of a caller that has this key."""
    return b"Authorization: Bearer %s\r\n" % key.encode()


def toml_key(key: str, header: str = "auth.key", **more: object) -> str:
    lines = [f"[[{header}]]", f'sha256 = "{digest(key).hex()}"']
    lines += [f"{name} = {json.dumps(value)}" for name, value in more.items()]
    return "\n".join(lines) + "\n"
