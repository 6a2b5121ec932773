"""Prometheus families of the terms of API keys. Labels: those of metrics.auth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


def key_terms(snapshot: dict[str, Any]) -> Iterator[Metric]:
    """Keys with terms only. Two may have the same name: they are summed."""
    inflight: Counter[tuple[str, str]] = Counter()
    waiting: Counter[tuple[str, str]] = Counter()
    refusals: Counter[tuple[str, str, str]] = Counter()
    for row in (snapshot.get("auth") or {}).get("keys", ()):
        who = (row["key"], row["tenant"])
        inflight[who] += row["inflight"]
        waiting[who] += row["waiting"]
        for term, n in row["refused"].items():
            refusals[*who, term] += n
    labels = ("key", "tenant")
    running = GaugeMetricFamily(
        "zeroproxy_key_inflight", "Exchanges that hold a place of the key", labels=labels
    )
    queued = GaugeMetricFamily(
        "zeroproxy_key_waiting", "Exchanges that wait for one", labels=labels
    )
    for gauge, sums in ((running, inflight), (queued, waiting)):
        for who, n in sums.items():
            gauge.add_metric(who, n)
        yield gauge
    refused = CounterMetricFamily(
        "zeroproxy_key_refused",
        "Requests refused for a term of their key",
        labels=(*labels, "term"),
    )
    for where, n in refusals.items():
        refused.add_metric(where, n)
    yield refused
