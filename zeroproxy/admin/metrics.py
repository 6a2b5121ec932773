"""Prometheus families out of a snapshot, made anew for every scrape.

The counters live in C. A custom collector of prometheus_client writes them in the text format: the
library handles names, escaping and content types. The names are stable.

Law. No label set occurs twice in a family: a scraper refuses what repeats. C keeps its rows apart
by more than the labels show (an outcome's phase, the bytes of a model's name): rows are summed.
Tests: tests/unit/test_admin_app.py.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from zeroproxy._fast.engine.enum_names import BREAKER_STATES
from zeroproxy.admin.jwt_metrics import tokens_of_callers
from zeroproxy.admin.key_metrics import key_terms
from zeroproxy.admin.metering_metrics import metering
from zeroproxy.admin.process_metrics import process

Snapshot = dict[str, Any]

HISTOGRAMS = (
    ("ttft", "zeroproxy_ttft_seconds", "First byte of the request to first content of the answer"),
    ("gap", "zeroproxy_inter_token_seconds", "Between two reads of one streamed response"),
    ("request", "zeroproxy_request_seconds", "First byte of the request to the last of the answer"),
    (
        "overhead",
        "zeroproxy_overhead_seconds",
        "Own time of a request, the endpoint left out",
    ),
    ("queue_wait", "zeroproxy_queue_seconds", "Waiting for a permit"),
)


def requests(snapshot: Snapshot) -> Metric:
    family = CounterMetricFamily(
        "zeroproxy_requests",
        "Exchanges that have ended, by who ended them, in which phase and why",
        labels=("upstream", "endpoint", "status", "outcome"),
    )
    sums: Counter[tuple[str, ...]] = Counter()
    for r in snapshot["requests"]:
        sums[r["upstream"], r["endpoint"], str(r["status"]), r["outcome"]] += r["count"]
    for labels, n in sums.items():
        family.add_metric(labels, n)
    return family


def tokens(snapshot: Snapshot) -> Metric:
    family = CounterMetricFamily(
        "zeroproxy_tokens",
        "Tokens the endpoints reported",
        labels=("upstream", "model", "tenant", "kind"),
    )
    sums: Counter[tuple[str, ...]] = Counter()
    for t in snapshot["tokens"]:
        for kind in ("prompt", "completion", "cached", "reasoning"):
            sums[t["upstream"], t["model"], t["tenant"], kind] += t[kind]
    for labels, n in sums.items():
        family.add_metric(labels, n)
    return family


def histograms(snapshot: Snapshot) -> Iterator[Metric]:
    bounds = [str(b / 1e9) for b in snapshot["bounds_ns"]] + ["+Inf"]
    for key, name, text in HISTOGRAMS:
        family = HistogramMetricFamily(name, text, labels=("upstream",))
        for upstream in snapshot["upstreams"]:
            h = upstream["histograms"][key]
            total, buckets = 0, []
            for bound, count in zip(bounds, h["counts"], strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric((upstream["name"],), buckets, h["sum_ns"] / 1e9)
        yield family


def upstreams(snapshot: Snapshot) -> Iterator[Metric]:
    for key, name, text in (
        ("inflight", "zeroproxy_inflight", "Exchanges that hold a permit"),
        ("queued", "zeroproxy_queued", "Exchanges that wait for a permit"),
        ("waiting", "zeroproxy_waiting", "Exchanges that wait for a connection to be free"),
    ):
        family = GaugeMetricFamily(name, text, labels=("upstream",))
        for upstream in snapshot["upstreams"]:
            family.add_metric((upstream["name"],), upstream[key])
        yield family
    for key, name, text in (
        ("displaced", "zeroproxy_displaced", "Refused to make room in a full queue"),
        ("hedges", "zeroproxy_hedges", "Second endpoints asked because the first was late"),
        ("hedges_won", "zeroproxy_hedges_won", "Of them: answered first"),
    ):
        counter = CounterMetricFamily(name, text, labels=("upstream",))
        for upstream in snapshot["upstreams"]:
            counter.add_metric((upstream["name"],), upstream[key])
        yield counter


def endpoints(snapshot: Snapshot) -> Iterator[Metric]:
    labels = ("upstream", "endpoint")
    up = GaugeMetricFamily("zeroproxy_endpoint_up", "1: in rotation", labels=labels)
    pool = GaugeMetricFamily(
        "zeroproxy_pool_connections", "Connections to the endpoint", labels=(*labels, "state")
    )
    connects = CounterMetricFamily("zeroproxy_connects", "Connections opened", labels=labels)
    failures = CounterMetricFamily(
        "zeroproxy_connect_failures", "Connections that could not be opened", labels=labels
    )
    reused = CounterMetricFamily("zeroproxy_reused", "Connections used again", labels=labels)
    stale = CounterMetricFamily(
        "zeroproxy_stale_connections", "Idle connections the endpoint ended", labels=labels
    )
    limit = GaugeMetricFamily(
        "zeroproxy_inflight_limit", "Exchanges it may have in flight; 0: any number", labels=labels
    )
    unframed = CounterMetricFamily(
        "zeroproxy_unframed_answers",
        "Answers whole in their dialect whose HTTP message the endpoint never ended",
        labels=labels,
    )
    for upstream in snapshot["upstreams"]:
        for e in upstream["endpoints"]:
            where = (upstream["name"], e["url"])
            limit.add_metric(where, e["limit"])
            unframed.add_metric(where, e["unframed"])
            up.add_metric(where, int(e["up"] and not e["draining"]))
            pool.add_metric((*where, "idle"), e["idle"])
            pool.add_metric((*where, "opening"), e["opening"])
            pool.add_metric((*where, "active"), e["inflight"])
            connects.add_metric(where, e["connects"])
            failures.add_metric(where, e["connect_failures"])
            reused.add_metric(where, e["reused"])
            stale.add_metric(where, e["stale"])
    yield from (up, pool, connects, failures, reused, stale, limit, unframed)


def holds(snapshot: Snapshot) -> Iterator[Metric]:
    """Requests that wait for an endpoint, and what callers' SDKs told of themselves."""
    labels = ("upstream",)
    now = GaugeMetricFamily(
        "zeroproxy_holding", "Exchanges that wait until an endpoint is back", labels=labels
    )
    oldest = GaugeMetricFamily(
        "zeroproxy_holding_oldest_seconds", "The longest wait among them", labels=labels
    )
    held = CounterMetricFamily(
        "zeroproxy_held", "Exchanges that have waited for an endpoint", labels=labels
    )
    again = CounterMetricFamily(
        "zeroproxy_caller_retries", "Requests that a caller's SDK had sent before", labels=labels
    )
    late = CounterMetricFamily(
        "zeroproxy_too_late",
        "Refused because the caller would have left before its turn",
        labels=labels,
    )
    for upstream in snapshot["upstreams"]:
        where, found = (upstream["name"],), upstream["holding"]
        now.add_metric(where, found["now"])
        oldest.add_metric(where, found["oldest_s"])
        held.add_metric(where, found["total"])
        again.add_metric(where, upstream["caller_retries"])
        late.add_metric(where, upstream["too_late"])
    yield from (now, oldest, held, again, late)


def wellbeing(snapshot: Snapshot) -> Iterator[Metric]:
    """Breakers, drains, and what health has found."""
    labels = ("upstream", "endpoint")
    state = GaugeMetricFamily(
        "zeroproxy_breaker_state", "0: closed, 1: half open, 2: open", labels=labels
    )
    moves = CounterMetricFamily(
        "zeroproxy_breaker_transitions", "Times it became so", labels=(*labels, "to")
    )
    draining = GaugeMetricFamily(
        "zeroproxy_endpoint_draining", "1: an operator asked for nothing new", labels=labels
    )
    wedged = GaugeMetricFamily(
        "zeroproxy_endpoint_wedged", "1: it answers its probe and makes no progress", labels=labels
    )
    busy = CounterMetricFamily("zeroproxy_busy_answers", "Answers 429 and 503", labels=labels)
    for upstream in snapshot["upstreams"]:
        for e in upstream["endpoints"]:
            where = (upstream["name"], e["url"])
            state.add_metric(where, BREAKER_STATES.index(e["breaker"]["state"]))
            for to, n in e["breaker"]["to"].items():
                moves.add_metric((*where, to), n)
            draining.add_metric(where, int(e["draining"]))
            wedged.add_metric(where, int((e.get("health") or {}).get("wedged", False)))
            busy.add_metric(where, e["busy"])
    yield from (state, moves, draining, wedged, busy)


def warmups(snapshot: Snapshot) -> Iterator[Metric]:
    labels = ("upstream", "endpoint")
    cold = GaugeMetricFamily("zeroproxy_endpoint_cold", "1: it is being warmed up", labels=labels)
    failed = GaugeMetricFamily(
        "zeroproxy_warmup_failed", "1: the last warm-up was refused or too late", labels=labels
    )
    seconds = GaugeMetricFamily(
        "zeroproxy_warmup_seconds",
        "How long the last warm-up request took",
        labels=(*labels, "model"),
    )
    for upstream in snapshot["upstreams"]:
        for e in upstream["endpoints"]:
            where, found = (upstream["name"], e["url"]), e.get("warmup")
            if found is None:
                continue
            cold.add_metric(where, int(found["state"] == "warming"))
            failed.add_metric(where, int(found["state"] == "failed"))
            for model, s in found["seconds"].items():
                seconds.add_metric((*where, model), s)
    yield from (cold, failed, seconds)


def stale(snapshot: Snapshot) -> tuple[Metric, Metric]:
    """Requests whose reused connection ended without an answer: sent again, or not."""
    retries = CounterMetricFamily(
        "zeroproxy_stale_retries",
        "Idle connections that were dead when used, and replaced unseen",
        labels=("upstream", "endpoint"),
    )
    withheld = CounterMetricFamily(
        "zeroproxy_retries_withheld",
        "Requests not sent again, because the endpoint may have worked on them when it closed",
        labels=("upstream", "endpoint"),
    )
    for upstream in snapshot["upstreams"]:
        for e in upstream["endpoints"]:
            where = (upstream["name"], e["url"])
            retries.add_metric(where, e["stale_retries"])
            withheld.add_metric(where, e["retries_withheld"])
    return retries, withheld


def pools(snapshot: Snapshot) -> Iterator[Metric]:
    labels = ("upstream", "endpoint")
    limit = GaugeMetricFamily(
        "zeroproxy_pool_idle_limit_seconds",
        "How long a connection may rest now, configured or learned; 0: for ever",
        labels=labels,
    )
    closed = CounterMetricFamily(
        "zeroproxy_connections_closed",
        "Connections to the endpoint that were closed, by why",
        labels=(*labels, "why"),
    )
    warmed = CounterMetricFamily(
        "zeroproxy_prewarmed", "Connections opened before they were needed", labels=labels
    )
    for upstream in snapshot["upstreams"]:
        for e in upstream["endpoints"]:
            where = (upstream["name"], e["url"])
            limit.add_metric(where, e["pool"]["idle_limit_s"])
            warmed.add_metric(where, e["pool"]["warmed"])
            for why, n in e["pool"]["closed"].items():
                closed.add_metric((*where, why), n)
    yield from (limit, closed, warmed, *stale(snapshot))
    waits = CounterMetricFamily(
        "zeroproxy_connection_waits",
        "Exchanges that waited because every endpoint was at max_connections",
        labels=("upstream",),
    )
    for upstream in snapshot["upstreams"]:
        waits.add_metric((upstream["name"],), upstream["waited"])
    yield waits


def auth(snapshot: Snapshot) -> Iterator[Metric]:
    found = snapshot.get("auth") or {}
    yield from tokens_of_callers(snapshot)
    yield CounterMetricFamily(
        "zeroproxy_unknown_keys", "Requests without a known API key, answered 401",
        found.get("unknown", 0),
    )  # fmt: skip
    labels = ("key", "tenant", "quota")
    limit = GaugeMetricFamily("zeroproxy_quota_limit", "What may be taken a minute", labels=labels)
    level = GaugeMetricFamily(
        "zeroproxy_quota_level", "What may be taken now; a debt is below 0", labels=labels
    )
    refused = CounterMetricFamily(
        "zeroproxy_quota_refused", "Requests that found it exhausted, answered 429", labels=labels
    )
    sums: dict[tuple[tuple[str, ...], str], float] = defaultdict(float)
    for q in found.get("quotas", ()):
        for name in ("per_minute", "level", "refused"):
            sums[(q["key"], q["tenant"], q["quota"]), name] += q[name]
    for (where, name), value in sums.items():
        if name == "refused":
            refused.add_metric(where, value)
        else:
            (level if name == "level" else limit).add_metric(where, value)
    yield from (limit, level, refused)
    if shared := found.get("shared"):
        yield GaugeMetricFamily(
            "zeroproxy_quota_shared_up", "1: Redis answers, quotas are shared", shared["connected"]
        )
        yield GaugeMetricFamily(
            "zeroproxy_quota_proxies", "Proxies that share the quotas", shared["proxies"]
        )


def reloads(snapshot: Snapshot) -> Iterator[Metric]:
    found = snapshot["reloads"]
    family = CounterMetricFamily(
        "zeroproxy_reloads", "Times the configuration was read again", labels=("result",)
    )
    for result in ("ok", "failed"):
        family.add_metric((result,), found[result])
    yield family
    yield GaugeMetricFamily(
        "zeroproxy_config_last_reload_success",
        "1: what was read last is in force",
        int(found["last"] == "ok"),
    )


def secure(snapshot: Snapshot) -> Iterator[Metric]:
    """TLS, once there has been any."""
    tls = snapshot.get("tls", {})
    if tls.get("expires") is not None:
        yield GaugeMetricFamily(
            "zeroproxy_tls_certificate_expires_seconds",
            "When the listeners' certificate ends, in seconds since 1970",
            tls["expires"],
        )
    done = CounterMetricFamily(
        "zeroproxy_tls_handshakes", "TLS handshakes that succeeded", labels=("side",)
    )
    failed = CounterMetricFamily(
        "zeroproxy_tls_handshake_failures", "And those that failed", labels=("side", "reason")
    )
    for side, n in tls.get("handshakes", {}).items():
        reasons = tls["failures"][side]
        if not n and not any(reasons.values()):
            continue
        done.add_metric((side,), n)
        for reason, count in reasons.items():
            failed.add_metric((side, reason), count)
    yield from (done, failed)


class SnapshotCollector(Collector):
    """Registered in a registry of its own; `take` is called once per scrape."""

    def __init__(self, take: Callable[[], Snapshot]) -> None:
        self._take = take

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        snapshot = self._take()
        yield requests(snapshot)
        yield tokens(snapshot)
        yield from histograms(snapshot)
        yield from upstreams(snapshot)
        yield from endpoints(snapshot)
        yield from holds(snapshot)
        yield from wellbeing(snapshot)
        yield from warmups(snapshot)
        yield from pools(snapshot)
        yield from auth(snapshot)
        yield from key_terms(snapshot)
        yield from process(snapshot)
        yield from reloads(snapshot)
        yield from secure(snapshot)
        yield from metering(snapshot)
