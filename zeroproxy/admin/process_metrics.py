"""Metrics of the whole process: downstream connections, comments, descriptors.

Tests: tests/relay/test_proxy_protocol.py, tests/unit/test_admin.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


def refused_headers(snapshot: Mapping[str, Any]) -> Metric:
    refused = CounterMetricFamily(
        "zeroproxy_proxy_protocol_refused",
        "Downstream connections closed for their header of the PROXY protocol",
        labels=("reason",),
    )
    for reason, n in snapshot.get("proxy_protocol", {}).items():
        refused.add_metric((reason,), n)
    return refused


def process(snapshot: Mapping[str, Any]) -> Iterator[Metric]:
    c = snapshot["connections"]
    yield GaugeMetricFamily("zeroproxy_connections", "Open downstream connections", c["downstream"])
    yield GaugeMetricFamily("zeroproxy_connections_limit", "Refused with 503 above", c["limit"])
    for key, text in (
        ("accepted", "Downstream connections accepted"),
        ("refused", "Downstream connections above the limit, answered 503"),
        ("starved", "Times accept found no descriptor or memory"),
    ):
        yield CounterMetricFamily(f"zeroproxy_connections_{key}", text, c[key])
    yield refused_headers(snapshot)
    kept = snapshot["keepalive"]
    yield CounterMetricFamily(
        "zeroproxy_sse_comments", "Comments that kept a silent stream alive", kept["comments"]
    )
    yield CounterMetricFamily(
        "zeroproxy_sse_early_heads",
        "Heads of streams that were sent before the endpoint's",
        kept["early_heads"],
    )
    yield CounterMetricFamily(
        "zeroproxy_ring_overflow",
        "Records that found the ring full; their totals are not lost",
        snapshot["ring"]["overflow"],
    )
    fds = GaugeMetricFamily("zeroproxy_fds", "Descriptors held", labels=("kind",))
    for kind, n in snapshot["fds"].items():
        fds.add_metric((kind,), n)
    yield fds
    info = GaugeMetricFamily("zeroproxy_info", "Always 1", labels=("version", "phase"))
    info.add_metric((snapshot["version"], snapshot["phase"]), 1)
    yield info
