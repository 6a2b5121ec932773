"""A record as a span: its name, its attributes, and if it failed. Names only; no OpenTelemetry is
imported here.

Law 1. Names come from the semantic conventions: GenAI (github.com/open-telemetry/
       semantic-conventions-genai) and HTTP (1.41). Names of our own begin with `zeroproxy.`.
Law 2. Unknown values are left out; nothing is guessed. gen_ai.provider.name is never there: the
       wire does not show it.
Law 3. Cached tokens are part of the input and reasoning tokens part of the output, as the
       conventions want and as records have them.
Tests: tests/unit/test_spans.py.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple
from urllib.parse import urlsplit

Value = str | bool | int | float

#: Ends of paths that generate, with the conventions' name of the operation; the first that fits.
OPERATIONS: tuple[tuple[str, str], ...] = (
    ("/chat/completions", "chat"),
    ("/v1/responses", "chat"),
    ("/v1/messages", "chat"),
    ("/api/chat", "chat"),
    ("/completions", "text_completion"),
    ("/completion", "text_completion"),
    ("/generate", "text_completion"),
    ("/generate_stream", "text_completion"),
    ("/embeddings", "embeddings"),
    ("/embedding", "embeddings"),
    ("/api/embed", "embeddings"),
)
COUNTS = {
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "completion_tokens": "gen_ai.usage.output_tokens",
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
}
OURS = ("outcome", "exactness", "tenant", "request_id", "upstream", "finish", "tried", "events")
DURATIONS = {
    "queue_ns": "zeroproxy.queue.duration",
    "connect_ns": "zeroproxy.connect.duration",
}
#: Outcomes that are failures of a span; a caller that hangs up or errs is none.
FAILURES = ("upstream/", "ourselves/")
METERED = ("exact", "lower_bound")
HTTP_PORT = 80


class Description(NamedTuple):
    name: str
    attributes: dict[str, Value]
    failed: bool


@functools.lru_cache(maxsize=1024)
def operation_of(method: str, path: str) -> str:
    """The conventions' name of the operation; "": none."""
    if method != "POST":
        return ""
    plain = path.rstrip("/")
    return next((operation for end, operation in OPERATIONS if plain.endswith(end)), "")


@functools.lru_cache(maxsize=1024)
def address_of(endpoint: str) -> tuple[str, int]:
    """Host or socket path and port of an endpoint's URL; port 0: it has none."""
    if endpoint.startswith("unix:"):
        return endpoint.removeprefix("unix:"), 0
    try:
        parts = urlsplit(endpoint)
        return parts.hostname or "", parts.port or HTTP_PORT
    except ValueError:
        return "", 0


def http_attributes(record: dict[str, Any]) -> dict[str, Value]:
    """Methods without a name of their own are `_OTHER`, a status of 0 was never sent."""
    method = record["method"]
    attributes: dict[str, Value] = {
        "http.request.method": "_OTHER" if method == "OTHER" else method
    }
    if record["path"]:
        attributes["url.path"] = record["path"]
    if record["status"]:
        attributes["http.response.status_code"] = record["status"]
    if record["endpoint"]:
        address, port = address_of(record["endpoint"])
        if address:
            attributes["server.address"] = address
        if port:
            attributes["server.port"] = port
    return attributes


def model_attributes(record: dict[str, Any], operation: str) -> dict[str, Value]:
    attributes: dict[str, Value] = {}
    if operation:
        attributes["gen_ai.operation.name"] = operation
    if model := record["model"]:
        attributes["gen_ai.request.model"] = model
        # A record has one model; that the answer came from it is known once usage was read.
        if record["exactness"] in METERED:
            attributes["gen_ai.response.model"] = model
    for key, name in COUNTS.items():
        if (count := record[key]) is not None:
            attributes[name] = count
    if record.get("streamed"):
        attributes["gen_ai.request.stream"] = True
        if record["ttft_ns"]:
            attributes["gen_ai.response.time_to_first_chunk"] = record["ttft_ns"] / 1e9
    return attributes


def own_attributes(record: dict[str, Any]) -> dict[str, Value]:
    attributes: dict[str, Value] = {
        f"zeroproxy.{key}": value for key in OURS if (value := record.get(key))
    }
    # The key of the record in the ledger.
    if record.get("id"):
        attributes["zeroproxy.record_id"] = record["id"]
    for key, name in DURATIONS.items():
        if record[key]:
            attributes[name] = record[key] / 1e9
    return attributes


def error_of(record: dict[str, Any]) -> tuple[str, bool]:
    """error.type ("": none) and whether the span failed: 5xx fails, as HTTP spans of servers do."""
    if record["outcome"] != "ok":
        return record["outcome"], record["outcome"].startswith(FAILURES)
    if record["status"] >= 500:
        return str(record["status"]), True
    return "", False


def name_of(record: dict[str, Any], operation: str) -> str:
    if operation:
        return f"{operation} {record['model']}".rstrip()
    method = "HTTP" if record["method"] == "OTHER" else record["method"]
    return f"{method} {record['path']}".rstrip()


def describe(record: dict[str, Any]) -> Description:
    operation = operation_of(record["method"], record["path"])
    attributes = http_attributes(record)
    attributes |= model_attributes(record, operation)
    attributes |= own_attributes(record)
    error, failed = error_of(record)
    if error:
        attributes["error.type"] = error
    return Description(name_of(record, operation), attributes, failed)
