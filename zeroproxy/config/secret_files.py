"""The files of keys and secrets that a configuration names, read into it. Certificates and their
keys belong to server/tls.py.

Law 1. An error names the file and the key, in a file of keys the line too. No error quotes a
       secret.
Law 2. `resolve` is given a configuration as it was written, not one that it has made itself.
Tests: tests/unit/test_embed_config.py, tests/e2e/test_keys.py.
"""

from __future__ import annotations

from msgspec.structs import replace

from zeroproxy.config.auth import Auth, Key, KeysFile
from zeroproxy.config.check_terms import check_key_upstreams, check_salt_secret
from zeroproxy.config.load import Reader, read_text
from zeroproxy.config.schema import AnySink, Config, ToPostgres, ToRedis, Upstream, kind_of
from zeroproxy.config.upstream import API_KEY_MAX
from zeroproxy.config.validate import FIELD_VALUE, check_keys, check_redis
from zeroproxy.errors import ConfigError

TENANTS_MAX = 65534  # the data plane numbers them with 16 bits, of which one value is none


def text_in(file: str, key: str) -> str:
    """The text of `file`, which may have several lines. Raises ConfigError."""
    text = read_text(file, key).strip()
    if not text:
        raise ConfigError("is empty", file=file, key=key)
    if "\0" in text:
        raise ConfigError("holds a NUL", file=file, key=key)
    return text


def secret_in(file: str, key: str) -> str:
    """The one line of `file`. Raises ConfigError."""
    text = text_in(file, key)
    if not FIELD_VALUE.fullmatch(text):
        raise ConfigError("holds more than one line of printable ASCII", file=file, key=key)
    return text


def redis_url_in(file: str, key: str) -> str:
    """The URL of Redis in `file`. Raises ConfigError."""
    url = secret_in(file, key)
    check_redis(url, (), lambda message, _: ConfigError(message, file=file, key=key))
    return url


def salt_secret_in(file: str, key: str) -> str:
    """The secret of cache_salt in `file`. Raises ConfigError."""
    secret = secret_in(file, key)
    check_salt_secret(secret, (), lambda message, _: ConfigError(message, file=file, key=key))
    return secret


def keys_in(file: str, upstreams: tuple[Upstream, ...]) -> tuple[Key, ...]:
    """The [[key]] tables of a file. Raises ConfigError."""
    reader = Reader(read_text(file, "auth.keys_file"), file)
    raw = reader.expand(reader.check_keys(reader.parse(), KeysFile, ()), ())
    found = reader.convert(raw, KeysFile).key
    check_keys(found, ("key",), reader.error)
    check_key_upstreams(found, upstreams, ("key",), reader.error)
    return found


def all_keys(auth: Auth, upstreams: tuple[Upstream, ...] = ()) -> tuple[Key, ...]:
    """Those of the configuration, then those of the file. Raises ConfigError."""
    if not auth.keys_file:
        check_tenants(auth.key, "auth.key", "")
        return auth.key
    known = {key.digest() for key in auth.key}
    added = keys_in(auth.keys_file, upstreams)
    for k, key in enumerate(added):
        if key.digest() in known:
            which = "certificate" if key.certificate else "sha256"
            raise ConfigError("is in the configuration too", file=auth.keys_file,
                              key=f"key[{k}].{which}")  # fmt: skip
    check_tenants(auth.key + added, "auth.keys_file", auth.keys_file)
    return auth.key + added


def check_tenants(keys: tuple[Key, ...], key: str, file: str) -> None:
    if (n := len({k.owner() for k in keys})) > TENANTS_MAX:
        raise ConfigError(f"{n} tenants, and {TENANTS_MAX} are the most", file=file, key=key)


def resolve_upstream(upstream: Upstream) -> Upstream:
    if not upstream.api_key_file:
        return upstream
    key = secret_in(upstream.api_key_file, f"upstream {upstream.name}: api_key_file")
    if len(key) > API_KEY_MAX:
        raise ConfigError(f"holds more than {API_KEY_MAX} bytes", file=upstream.api_key_file,
                          key=f"upstream {upstream.name}: api_key_file")  # fmt: skip
    return replace(upstream, api_key=key, api_key_file="")


def name_of(sink: AnySink) -> str:
    return sink.name or kind_of(sink)


def resolve_sink(sink: AnySink) -> AnySink:
    """`sink` with the secret of its file in it. Blocks. Raises ConfigError."""
    key = f"sink {name_of(sink)}"
    if isinstance(sink, ToRedis) and sink.url_file:
        return replace(sink, url=redis_url_in(sink.url_file, f"{key}: url_file"), url_file="")
    if isinstance(sink, ToPostgres) and sink.dsn_file:
        return replace(sink, dsn=text_in(sink.dsn_file, f"{key}: dsn_file"), dsn_file="")
    return sink


def resolve(config: Config) -> Config:
    """`config` with the contents of its files. Blocks. Raises ConfigError. The files of sinks are
    read by resolve_sink when these are opened: a reload opens none and shall not fail for one."""
    auth, admin = config.auth, config.admin
    if auth is not None:
        shared = auth.shared
        if shared.url_file:
            url = redis_url_in(shared.url_file, "auth.shared.url_file")
            shared = replace(shared, url=url, url_file="")
        if auth.cache_salt_secret_file:
            secret = salt_secret_in(auth.cache_salt_secret_file, "auth.cache_salt_secret_file")
            auth = replace(auth, cache_salt_secret=secret, cache_salt_secret_file="")
        keys = all_keys(auth, config.upstream)
        if any(key.certificate for key in keys) and not config.server.tls.identity:
            raise ConfigError("a key with a certificate needs server.tls.identity",
                              file=auth.keys_file, key="auth.keys_file")  # fmt: skip
        auth = replace(auth, key=keys, keys_file="", shared=shared)
    if admin.token_file:
        token = secret_in(admin.token_file, "admin.token_file")
        admin = replace(admin, token=token, token_file="")
    upstreams = tuple(map(resolve_upstream, config.upstream))
    return replace(config, auth=auth, admin=admin, upstream=upstreams)
