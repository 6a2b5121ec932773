"""The configuration of the surface: the part of an upstream that callers reach (docs/surface.md).

The engine has the same rules compiled (request/surface.pyx). Here they are read and checked, and
`zeroproxy check` asks them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from zeroproxy.config.base import Base

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
#: A GET that asks for a WebSocket.
WEBSOCKET = "WEBSOCKET"
INFERENCE, ALL = "inference", "all"

#: Methods by path; none: all methods. A path that ends with "/*" is a prefix.
Rules = dict[str, tuple[str, ...]]

#: The paths that each server needs for inference; docs/surface.md is this table. A load balancer
#: may ask for /health.
NEEDED: Mapping[str, tuple[str, ...]] = {
    "openai": (
        "GET /health",
        "GET /v1/models",
        "GET /v1/models/*",
        "POST /v1/chat/completions",
        "POST /v1/completions",
        "POST /v1/embeddings",
        "POST /v1/responses",
        "WEBSOCKET /v1/responses",
        "GET /v1/responses/*",
        "POST /v1/responses/*",
        "DELETE /v1/responses/*",
        "POST /v1/messages",
        "POST /v1/messages/count_tokens",
        "POST /v1/moderations",
        "POST /v1/audio/speech",
        "POST /v1/audio/transcriptions",
        "POST /v1/audio/translations",
        "POST /v1/images/generations",
        "POST /v1/images/edits",
        "POST /v1/images/variations",
        "WEBSOCKET /v1/realtime",
    ),
    "vllm": (
        "POST /v1/chat/completions/batch",
        "POST /invocations",
        "POST /pooling",
        "POST /classify",
        "POST /score",
        "POST /v1/score",
        "POST /rerank",
        "POST /v1/rerank",
        "POST /v2/rerank",
        "POST /v2/embed",
        "POST /generative_scoring",
    ),
    "sglang": (
        "POST /generate",
        "POST /encode",
        "POST /classify",
        "POST /v1/classify",
        "POST /v1/score",
        "POST /v1/rerank",
        "GET /get_model_info",
        "GET /model_info",
        "POST /api/chat",
        "POST /api/generate",
        "POST /api/show",
        "GET /api/tags",
    ),
    "tgi": (
        "POST /",
        "POST /generate",
        "POST /generate_stream",
        "POST /invocations",
        "GET /info",
    ),
    "llamacpp": (
        "POST /completion",
        "POST /completions",
        "POST /chat/completions",
        "POST /infill",
        "POST /apply-template",
        "POST /embedding",
        "POST /embeddings",
        "POST /rerank",
        "POST /reranking",
        "POST /v1/rerank",
        "POST /v1/reranking",
        "GET /models",
        "POST /api/chat",
        "POST /api/show",
        "GET /api/tags",
    ),
    "fastchat": (
        "POST /worker_generate",
        "POST /worker_generate_stream",
        "POST /worker_get_embeddings",
        "POST /worker_get_status",
        "POST /count_token",
        "POST /api/v1/chat/completions",
        "POST /api/v1/token_check",
    ),
    "ollama": (
        "POST /api/chat",
        "POST /api/generate",
        "POST /api/embed",
        "POST /api/embeddings",
        "POST /api/show",
        "GET /api/tags",
        "GET /api/ps",
        "GET /api/version",
    ),
    "ktransformers": ("POST /api/chat", "POST /api/generate", "GET /api/tags"),
}

#: Fields by which a caller would control the engine, its scheduler or its cache. The others replace
#: path or method of a request at some servers.
STRIP_HEADERS = (
    "x-vllm-priority",
    "x-data-parallel-rank",
    "x-data-parallel-host-port",
    "x-override-*",
    "x-prefiller-host-port",
    "x-encoder-hosts-ports",
    "x-kv-cache-source-host-port",
    "x-gateway-destination-endpoint*",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-rewrite-uri",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-script-name",
    "script-name",
    "path-info",
)

#: Members of a body that do the same: vLLM's and SGLang's.
REFUSE_FIELDS = (
    "kv_transfer_params",
    "ec_transfer_params",
    "cache_salt",
    "priority",
    "vllm_xargs",
    "rid",
    "bootstrap_*",
    "data_parallel_rank",
    "routed_dp_rank",
    "disagg_prefill_dp_rank",
    "session_params",
    "custom_logit_processor",
    "lora_path",
)


class Surface(Base, frozen=True):
    """The part of an upstream that callers reach (docs/surface.md)."""

    #: "inference": the paths that known servers need for it (docs/surface.md). "all": every path.
    #: Or a list of "METHOD /path", "/path" (any method), "METHOD /path/*" (all below), "inference".
    paths: str | tuple[str, ...] = INFERENCE
    #: Fields of a request's head that are not passed on; a name that ends with "*" is a prefix.
    strip_headers: tuple[str, ...] = STRIP_HEADERS
    #: Exceptions from strip_headers.
    keep_headers: tuple[str, ...] = ()
    #: Members in the root of a JSON body with which it is refused; likewise.
    refuse_fields: tuple[str, ...] = REFUSE_FIELDS


# ---------------------------------------------------------------- paths


#: RFC 3986 3.3 without "%" and ";": what servers decode or cut off.
PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,=:@/-]*")


def parse_path(text: str) -> tuple[str, str]:
    """Method ("": all) and path of one entry. Raises ValueError."""
    method, _, path = text.rpartition(" ")
    if method and method not in (*METHODS, WEBSOCKET):
        raise ValueError(f'"{method}" is none of {", ".join((*METHODS, WEBSOCKET))}')
    if not path.startswith("/"):
        raise ValueError(f'"{text}" is neither "METHOD /path", "/path" nor "{INFERENCE}"')
    if not PATH.fullmatch(path):
        raise ValueError(f'"{path}" has a character that no path here matches, as "%" or ";"')
    segments = path.removesuffix("/*").split("/")[1:]
    if any(segment in (".", "..") for segment in segments) or "" in segments[:-1]:
        raise ValueError(f'"{path}" has an empty or dot segment, which no path here matches')
    if "*" in path.removesuffix("/*"):
        raise ValueError(f'"{path}" has a * that is not its last segment')
    return method, path


def entries_of(paths: str | Iterable[str]) -> list[str]:
    """Every entry of a list, with the union in the place of "inference"."""
    union = [entry for needed in NEEDED.values() for entry in needed]
    each = [paths] if isinstance(paths, str) else paths
    return [entry for one in each for entry in (union if one == INFERENCE else [one])]


def rules_of(paths: str | Iterable[str]) -> Rules | None:
    """The rules of surface.paths, which were checked; None: everything passes."""
    if paths == ALL:
        return None
    found: Rules = {}
    for method, path in map(parse_path, entries_of(paths)):
        known = found.get(path)
        if not method or known == ():
            found[path] = ()
        elif method not in (known or ()):
            found[path] = (*(known or ()), method)
    return found


def is_plain_rest(rest: str) -> bool:
    """True if servers read the segments behind a prefix as they are."""
    segments = rest.split("/")
    return bool(PATH.fullmatch("/" + rest)) and not {"", ".", ".."} & set(segments)


def methods_at(rules: Rules, path: str) -> set[str]:
    """The methods that pass at `path`; empty: none does."""
    found: set[str] = set()
    for rule, methods in rules.items():
        prefix = rule.removesuffix("*")
        if rule == path or (
            rule.endswith("/*") and path.startswith(prefix) and is_plain_rest(path[len(prefix) :])
        ):
            found |= set(methods or (*METHODS, WEBSOCKET))
    return found


def passes(rules: Rules | None, method: str, path: str) -> bool:
    """True if a request passes; `method` may be WEBSOCKET."""
    if rules is None:
        return True
    found = methods_at(rules, path)
    if method == "OPTIONS":
        return bool(found)
    return method in found or (method in ("HEAD", WEBSOCKET) and "GET" in found)
