"""Checks that no type can express: values that make no sense, keys that need each other.

Every check ends well or raises what `wrong(message, path)` makes; it knows no file and no line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from zeroproxy.config.base import KeyPath, Wrong
from zeroproxy.config.check_addresses import (
    check_listeners,
    check_loops,
    check_url,
    is_authority,
    is_host,
    is_loopback,
    split_endpoint,
)
from zeroproxy.config.check_surface import check_surfaces
from zeroproxy.config.check_terms import (
    check_engine_terms,
    check_key_upstreams,
    check_salt_secret,
    check_terms,
)
from zeroproxy.config.cors import header_problem, origin_problem
from zeroproxy.config.jwt import Jwt, issuer_problem, repeated
from zeroproxy.config.networks import check_networks, check_sources
from zeroproxy.config.schema import (
    Admin,
    Admission,
    AnySink,
    Auth,
    Config,
    Cors,
    Key,
    Metering,
    Otel,
    ServerTls,
    ToPostgres,
    ToRedis,
    Upstream,
    UpstreamTls,
    kind_of,
)

# Seconds; a stream that is kept alive more often carries little else.
KEEPALIVE_LEAST = 0.1
# Bytes of a model's name in the data plane, and of a server's own name as JSON.
MODEL_MAX = 256
REAL_MAX = 2 * MODEL_MAX + 2
REDIS_URLS = ("redis://", "rediss://", "unix://")
# RFC 9110 5.6.2 and 5.5; never more than printable ASCII.
FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
FIELD_VALUE = re.compile(r"[!-~]([\t -~]*[!-~])?")
# Sources of the affinity value, beside header fields; the data plane compares 64 bytes of a name.
KEY_SOURCES = ("user", "prompt")
KEY_HEADER = re.compile(r"header:[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")


def check_upstream(upstream: Upstream, path: KeyPath, wrong: Wrong) -> None:
    if not upstream.endpoints:
        raise wrong("at least one endpoint is needed", (*path, "endpoints"))
    if upstream.pool.prewarm > upstream.pool.max_idle:
        raise wrong("is larger than pool.max_idle", (*path, "pool", "prewarm"))
    check_admission(upstream.admission, (*path, "admission"), wrong)
    if not is_authority(upstream.host):
        raise wrong(f'"{upstream.host}" is none of caller, endpoint, HOST and HOST:PORT',
                    (*path, "host"))  # fmt: skip
    seen: set[str] = set()
    for k, endpoint in enumerate(upstream.all_endpoints()):
        here = (*path, "endpoints", k)
        check_url(endpoint.url, here, wrong)
        # Host names have no case and a URL may end with "/"; paths of unix sockets mean themselves.
        same = endpoint.url
        if not same.startswith("unix:"):
            same = same.lower().removesuffix("/")
            same = same.removesuffix(":443" if same.startswith("https:") else ":80")
        if same in seen:
            raise wrong(f"{endpoint.url} is there twice", here)
        seen.add(same)
    for table, request_path in (("health", upstream.health.path), ("warmup", upstream.warmup.path)):
        if request_path and not re.fullmatch(r"/[!-~]*", request_path):
            raise wrong("is no path: it begins with / and has no spaces", (*path, table, "path"))
    if 0 < upstream.health.wedge_after < 1:
        raise wrong("is 0, or at least 1 s", (*path, "health", "wedge_after"))
    for k, source in enumerate(upstream.hash.on):
        if source not in KEY_SOURCES and not KEY_HEADER.fullmatch(source):
            raise wrong(f'"{source}" is none of {", ".join(KEY_SOURCES)}, header:NAME',
                        (*path, "hash", "on", k))  # fmt: skip
    if upstream.breaker.error_rate and not upstream.breaker.window:
        raise wrong("needs a window to look at", (*path, "breaker", "error_rate"))


def check_admission(admission: Admission, path: KeyPath, wrong: Wrong) -> None:
    is_limited = admission.max_inflight or admission.ttft_target
    if admission.max_inflight and admission.min_inflight > admission.max_inflight:
        raise wrong(
            f"min_inflight = {admission.min_inflight} is more than "
            f"max_inflight = {admission.max_inflight}",
            (*path, "min_inflight"),
        )
    if admission.min_inflight > 1 and not admission.ttft_target:
        raise wrong("min_inflight is for a limit that ttft_target finds", (*path, "min_inflight"))
    if admission.tenant_share < 1 and not is_limited:
        raise wrong(
            "tenant_share is a share of max_inflight, or of what ttft_target finds: neither is set",
            (*path, "tenant_share"),
        )


def check_pair(tls: ServerTls | UpstreamTls, path: KeyPath, wrong: Wrong) -> None:
    """A certificate and its key."""
    if tls.cert and not tls.key:
        raise wrong("is missing: cert needs the private key it belongs to", (*path, "key"))
    if tls.key and not tls.cert:
        raise wrong("is missing: key needs its certificate", (*path, "cert"))


def check_tls(config: Config, wrong: Wrong) -> None:
    here: KeyPath = ("server", "tls")
    check_pair(config.server.tls, here, wrong)
    if config.server.tls.client_ca and not config.server.tls.cert:
        raise wrong("needs TLS: cert and key", (*here, "client_ca"))
    if config.server.tls.identity and not config.server.tls.client_ca:
        raise wrong("needs client_ca: anybody may write a name into a certificate",
                    (*here, "identity"))  # fmt: skip
    for k, key in enumerate(config.auth.key if config.auth is not None else ()):
        if key.certificate and not config.server.tls.identity:
            raise wrong("needs server.tls.identity", ("auth", "key", k, "certificate"))
    for k, upstream in enumerate(config.upstream):
        tls, here = upstream.tls, ("upstream", k, "tls")
        check_pair(tls, here, wrong)
        if tls != UpstreamTls() and not upstream.is_secure():
            raise wrong("is for https:// endpoints, and there is none", here)
        if not tls.verify and (tls.ca or tls.server_name):
            raise wrong("is false, so nobody is compared with ca or server_name",
                        (*here, "verify"))  # fmt: skip
        if tls.server_name and not is_host(tls.server_name):
            raise wrong("is no name of a host", (*here, "server_name"))


def check_redis(url: str, path: KeyPath, wrong: Wrong) -> None:
    """A URL of Redis. It may hold a password and is not quoted."""
    if not url.startswith(REDIS_URLS):
        raise wrong(f"expected a URL: {', '.join(REDIS_URLS)}", path)
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise wrong("its port is no number from 0 to 65535", path) from None


def check_one_of(sink: AnySink, key: str, path: KeyPath, wrong: Wrong) -> None:
    """Exactly one of KEY and KEY_file. The value is a secret and is not quoted."""
    given = [name for name in (key, f"{key}_file") if getattr(sink, name)]
    if len(given) != 1:
        problem = "both are given" if given else "neither is given"
        raise wrong(f"{problem}: exactly one of {key} and {key}_file is needed", path)


def check_routes(upstreams: Sequence[Upstream], wrong: Wrong) -> None:
    """Which upstream a model goes to must be one answer."""
    names: set[str] = set()
    homes: dict[str, str] = {}
    rest = ""
    for k, upstream in enumerate(upstreams):
        here: KeyPath = ("upstream", k)
        if upstream.name in names:
            raise wrong(f"another upstream is called {upstream.name}", (*here, "name"))
        names.add(upstream.name)
        if not upstream.models:
            if rest:
                raise wrong(f"is missing: {rest} already takes all models nobody lists",
                            (*here, "models"))  # fmt: skip
            rest = upstream.name
        for j, model in enumerate(upstream.all_models()):
            if len(model.name.encode()) > MODEL_MAX:
                raise wrong(f"is longer than {MODEL_MAX} bytes", (*here, "models", j))
            as_json = json.dumps(model.serves, ensure_ascii=False).encode()
            if len(model.serves.encode()) > MODEL_MAX or len(as_json) > REAL_MAX:
                raise wrong(f"serves a name longer than {MODEL_MAX} bytes", (*here, "models", j))
            if model.name in homes:
                raise wrong(f"{model.name} already goes to {homes[model.name]}",
                            (*here, "models", j))  # fmt: skip
            homes[model.name] = upstream.name


def check_metering(metering: Metering, wrong: Wrong) -> None:
    if metering.ring & (metering.ring - 1):
        raise wrong("is no power of two", ("metering", "ring"))
    key: KeyPath = ("metering", "sinks")
    if metering.sinks and not metering.ledger:
        raise wrong("sinks are fed from the ledger, and metering.ledger is off", key)
    names: set[str] = {"ledger", "access_log", "otel"}  # taken, in metrics
    for k, sink in enumerate(metering.sinks):
        here: KeyPath = (*key, k)
        name = sink.name or kind_of(sink)
        if name in names:
            raise wrong(f"another sink is called {name}; give it a name of its own", here)
        names.add(name)
        if isinstance(sink, ToRedis):
            check_one_of(sink, "url", here, wrong)
            if sink.url:
                check_redis(sink.url, (*here, "url"), wrong)
        if isinstance(sink, ToPostgres):
            check_one_of(sink, "dsn", here, wrong)


def check_collector(url: str, wrong: Wrong) -> None:
    """otel.endpoint. Secrets have no place in it: it is shown when a batch cannot be sent."""
    path: KeyPath = ("otel", "endpoint")
    if not re.fullmatch(r"https?://[!-~]+", url):
        raise wrong("is no URL of a collector: http://HOST:4318/v1/traces", path)
    parts = split_endpoint("http" + url[url.index(":") :])
    if parts is None:
        raise wrong("is no URL of a collector: http://HOST:4318/v1/traces", path)
    if parts.username is not None or parts.query or parts.fragment:
        raise wrong("has a user, a query or a fragment; keys belong in otel.headers", path)
    if parts.path in ("", "/"):
        raise wrong("needs the whole URL with its path, usually /v1/traces", path)


def check_otel(otel: Otel, wrong: Wrong) -> None:
    if otel.endpoint:
        check_collector(otel.endpoint, wrong)
    for name, value in otel.headers.items():
        here: KeyPath = ("otel", "headers", name)
        if not FIELD_NAME.fullmatch(name):
            raise wrong("is no name of a header field", here)
        if not FIELD_VALUE.fullmatch(value):
            # The value is not quoted: it may be a key with a line end behind it.
            raise wrong(
                "is no value of a header field: printable ASCII, no space at its ends", here
            )


def check_secret(one: Any, key: str, path: KeyPath, wrong: Wrong) -> None:
    """At most one of KEY and KEY_file, and fit for a header field. It is not quoted."""
    if getattr(one, key) and getattr(one, f"{key}_file"):
        raise wrong(f"both are given: at most one of {key} and {key}_file", (*path, key))
    if getattr(one, key) and not re.fullmatch(r"[!-~]+", getattr(one, key)):
        raise wrong("is not printable ASCII without spaces", (*path, key))


def check_keys(keys: Sequence[Key], path: KeyPath, wrong: Wrong) -> None:
    seen: set[str] = set()
    for k, key in enumerate(keys):
        which = "certificate" if key.certificate else "sha256"
        if bool(key.sha256) == bool(key.certificate):
            problem = "both are given" if key.sha256 else "is missing"
            raise wrong(f"{problem}: a key has sha256 or certificate", (*path, k, which))
        if not re.fullmatch(r"[^\x00-\x1f\x7f]*", key.certificate):
            raise wrong("holds a control character", (*path, k, which))
        if key.digest() in seen:
            raise wrong("is there twice", (*path, k, which))
        seen.add(key.digest())
        check_networks(key.allow_from, (*path, k, "allow_from"), wrong)
        for j, model in enumerate(key.models):
            if len(model.encode()) > MODEL_MAX:
                raise wrong(f"is longer than {MODEL_MAX} bytes", (*path, k, "models", j))
    check_terms(keys, path, wrong)


def check_jwt(issuers: Sequence[Jwt], wrong: Wrong) -> None:
    for k, one in enumerate(issuers):
        if found := issuer_problem(one):
            raise wrong(found[1], ("auth", "jwt", k, found[0]))
        check_networks(one.allow_from, ("auth", "jwt", k, "allow_from"), wrong)
    if (k := repeated(issuers)) >= 0:
        raise wrong("is there twice", ("auth", "jwt", k, "issuer"))


def check_auth(auth: Auth, wrong: Wrong) -> None:
    if not auth.key and not auth.keys_file and not auth.jwt:
        raise wrong("has no key: nobody could ask anything; leave it out to let everybody",
                    ("auth",))  # fmt: skip
    check_keys(auth.key, ("auth", "key"), wrong)
    check_jwt(auth.jwt, wrong)
    here: KeyPath = ("auth", "shared")
    check_secret(auth.shared, "url", here, wrong)
    check_secret(auth, "cache_salt_secret", ("auth",), wrong)
    if auth.cache_salt_secret:
        check_salt_secret(auth.cache_salt_secret, ("auth", "cache_salt_secret"), wrong)
    if auth.shared.url:
        check_redis(auth.shared.url, (*here, "url"), wrong)
    if auth.shared.patience < 2 * auth.shared.interval:
        raise wrong("is shorter than two intervals", (*here, "patience"))


def check_cors(cors: Cors, wrong: Wrong) -> None:
    here: KeyPath = ("server", "cors")
    for key, each, problem_of in (
        ("origins", cors.origins, origin_problem),
        ("headers", cors.headers, header_problem),
    ):
        for k, value in enumerate(each):
            if value == "*" and len(each) > 1:
                raise wrong('"*" stands alone: it is any', (*here, key, k))
            if value in each[:k]:
                raise wrong(f"{value} is there twice", (*here, key, k))
            if value != "*" and (problem := problem_of(value)):
                raise wrong(problem, (*here, key, k))


def check_admin(admin: Admin, wrong: Wrong) -> None:
    """The admin port must not be open to a network by oversight."""
    check_secret(admin, "token", ("admin",), wrong)
    for k, name in enumerate(admin.hosts):
        if not is_host(name):
            raise wrong(f'"{name}" is no name of a host: no scheme, no port', ("admin", "hosts", k))
    if not admin.listen or is_loopback(admin.listen):
        return
    if not (admin.token or admin.token_file or admin.insecure):
        raise wrong(
            f"{admin.listen} is not on loopback: set admin.token or admin.token_file; "
            "admin.insecure = true lets whoever reaches it drain and reload",
            ("admin", "listen"),
        )


def check_keepalive(seconds: float | str, wrong: Wrong) -> None:
    if isinstance(seconds, (int, float)) and 0 < seconds < KEEPALIVE_LEAST:
        raise wrong(f"is 0, or at least {KEEPALIVE_LEAST} s", ("server", "sse_keepalive"))


def check_together(config: Config, wrong: Wrong) -> None:
    """Everything above over a whole configuration, in the order an operator would read it."""
    if config.server.workers > 1:
        raise wrong("more than one worker is not supported by this version",
                    ("server", "workers"))  # fmt: skip
    check_listeners(config, wrong)
    check_sources(config, wrong)
    check_keepalive(config.server.sse_keepalive, wrong)
    check_cors(config.server.cors, wrong)
    if not config.upstream:
        raise wrong("at least one [[upstream]] is needed", ("upstream",))
    for k, upstream in enumerate(config.upstream):
        check_upstream(upstream, ("upstream", k), wrong)
        check_secret(upstream, "api_key", ("upstream", k), wrong)
    check_loops(config, wrong)
    check_tls(config, wrong)
    check_routes(config.upstream, wrong)
    check_surfaces(config.upstream, wrong)
    check_admin(config.admin, wrong)
    if config.auth is not None:
        check_auth(config.auth, wrong)
        check_key_upstreams(config.auth.key, config.upstream, ("auth", "key"), wrong)
    check_engine_terms(config, wrong)
    check_metering(config.metering, wrong)
    if config.limits.header_line_bytes > config.limits.header_bytes:
        raise wrong("is larger than limits.header_bytes", ("limits", "header_line_bytes"))
    check_otel(config.otel, wrong)
