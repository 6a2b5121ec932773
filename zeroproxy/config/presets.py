"""Presets: the health path, page of counters and settings of each known inference server.

A preset fills in keys that the configuration leaves out (config/load.py). It names the page of
counters that tells a wedged engine from a busy one (policy/wedge.py). docs/health.md is this table
in prose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    #: Tables of an upstream, with the keys that are filled in.
    keys: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: upstream.host.
    host: str = "caller"
    #: The path of its Prometheus page; empty: it has none.
    metrics: str = ""
    #: Samples that move with every step of the engine, also in a long prefill. No gauge of
    #: requests: a wedged engine may show any number there.
    counters: tuple[str, ...] = ()
    #: Gauges of its load: requests that run, that wait, and the share of its cache that is used.
    running: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    cache: tuple[str, ...] = ()


MODELS = {"health": {"path": "/v1/models"}}
#: Event loops accept cheaply (docs/pools.md has the numbers).
WARM = 8

PRESETS: Mapping[str, Preset] = {
    "": Preset(),
    "vllm": Preset(
        keys={"health": {"path": "/health"}, "pool": {"prewarm": WARM}},
        metrics="/metrics",
        counters=(
            "vllm:iteration_tokens_total_count",
            "vllm:iteration_tokens_total_sum",
            "vllm:generation_tokens_total",
            "vllm:prompt_tokens_total",
        ),
        running=("vllm:num_requests_running",),
        waiting=("vllm:num_requests_waiting",),
        # The second until vLLM 0.8.
        cache=("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
    ),
    # axum ends no idle connection.
    "tgi": Preset(
        keys={"health": {"path": "/health"}, "pool": {"prewarm": WARM, "idle_timeout": 60.0}},
        metrics="/metrics",
        counters=(
            "tgi_batch_inference_count",
            "tgi_batch_inference_success",
            "tgi_request_generated_tokens_sum",
        ),
        running=("tgi_batch_current_size",),
        waiting=("tgi_queue_size",),
    ),
    # Its /health generates a token and takes a second, unless it is configured not to.
    "sglang": Preset(
        keys={**MODELS, "pool": {"prewarm": WARM}},
        metrics="/metrics",
        counters=(
            "sglang:generation_tokens_total",
            "sglang:prompt_tokens_total",
            "sglang:gen_throughput",
            "sglang:token_usage",
            "sglang:num_used_tokens",
        ),
        running=("sglang:num_running_reqs",),
        waiting=("sglang:num_queue_reqs",),
        cache=("sglang:token_usage",),
    ),
    # cpp-httplib gives every connection a thread, idle ones as well.
    "llamacpp": Preset(
        keys={"health": {"path": "/health"}, "pool": {"max_idle": 2, "prewarm": 0}},
        metrics="/metrics",
        counters=(
            "llamacpp:n_decode_total",
            "llamacpp:prompt_tokens_total",
            "llamacpp:tokens_predicted_total",
        ),
        running=("llamacpp:requests_processing",),
        waiting=("llamacpp:requests_deferred",),
    ),
    "fastchat": Preset(keys=MODELS),
    # Go's server ends no idle connection. Ollama answers 403 to a Host that is not its own.
    "ollama": Preset(
        keys={"health": {"path": "/api/version"}, "pool": {"idle_timeout": 60.0}}, host="endpoint"
    ),
    "ktransformers": Preset(keys=MODELS),
    "openai": Preset(keys=MODELS),
}


def fill_in(upstream: dict[str, Any]) -> dict[str, Any]:
    """The table of an upstream with the keys its preset knows better than the defaults; what is
    written there stays."""
    name = upstream.get("preset", "")
    if not isinstance(name, str) or name not in PRESETS:
        return upstream  # the types refuse it
    filled = {"host": PRESETS[name].host, **upstream}
    for table, keys in PRESETS[name].keys.items():
        given = filled.get(table, {})
        if isinstance(given, dict):
            filled[table] = {**keys, **given}
    if isinstance(filled.get("pool"), dict):
        filled["pool"] = fit(filled["pool"], upstream.get("pool", {}))
    return filled


def fit(pool: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`pool` with `prewarm` at most `max_idle`: the one that is set bounds the other's default."""
    warm, idle = pool.get("prewarm"), pool.get("max_idle")
    if not isinstance(warm, int) or not isinstance(idle, int) or warm <= idle:
        return pool
    if "prewarm" not in given:
        return {**pool, "prewarm": idle}
    return {**pool, "max_idle": warm} if "max_idle" not in given else pool
