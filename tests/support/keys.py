"""API keys for tests."""

import hashlib
import json

FORMS = {
    "bearer": b"Authorization: Bearer %s\r\n",
    "any case": b"authorization: BEARER  %s\r\n",
    "anthropic": b"x-api-key: %s\r\n",
    "azure": b"api-key: %s\r\n",
}


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def row(key, *, name="", tenant="t", priority=5, models=(), requests=0, tokens=0):
    """What Engine.set_keys takes."""
    return digest(key), name, tenant, priority, models, requests, tokens


def shows(key: str) -> bytes:
    """The header line of a caller that has this key."""
    return b"Authorization: Bearer %s\r\n" % key.encode()


def toml_key(key: str, header: str = "auth.key", **more: object) -> str:
    lines = [f"[[{header}]]", f'sha256 = "{digest(key).hex()}"']
    lines += [f"{name} = {json.dumps(value)}" for name, value in more.items()]
    return "\n".join(lines) + "\n"
