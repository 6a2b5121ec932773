"""Prometheus families of what becomes of the records: ledger, flusher, access log, sinks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


def metering(snapshot: dict[str, Any]) -> Iterator[Metric]:
    state = snapshot.get("metering") or {}
    yield from sinks(state)
    if ledger := state.get("ledger"):
        yield from of_ledger(ledger)
    if flusher := state.get("flusher"):
        yield GaugeMetricFamily(
            "zeroproxy_flusher_stalled_seconds",
            "How long the batch has waited that is to go into the ledger; 0: none waits",
            flusher.get("stalled_seconds", 0.0),
        )
    if log := state.get("access_log"):
        yield CounterMetricFamily(
            "zeroproxy_access_log_dropped", "Lines that the access log did not take", log["dropped"]
        )
    if audit := snapshot.get("audit"):
        yield CounterMetricFamily(
            "zeroproxy_audit_dropped", "Lines that the audit file did not take", audit["dropped"]
        )
    if log := snapshot.get("log"):
        yield CounterMetricFamily(
            "zeroproxy_log_lines_dropped", "Lines that stderr did not take", log["dropped"]
        )


def sinks(state: dict[str, Any]) -> Iterator[Metric]:
    lag = GaugeMetricFamily(
        "zeroproxy_sink_lag_seconds", "Age of the oldest row the sink lacks", labels=("sink",)
    )
    waiting = GaugeMetricFamily(
        "zeroproxy_sink_waiting", "Rows of the ledger the sink lacks", labels=("sink",)
    )
    failures = CounterMetricFamily(
        "zeroproxy_sink_failures", "Batches that had to be tried again or given up",
        labels=("sink",),
    )  # fmt: skip
    for sink in state.get("sinks", ()):
        lag.add_metric((sink["name"],), sink["lag_seconds"])
        waiting.add_metric((sink["name"],), sink["waiting"])
        failures.add_metric((sink["name"],), sink["failures"])
    for name, n in ((state.get("flusher") or {}).get("failures") or {}).items():
        failures.add_metric((name,), n)
    yield from (lag, waiting, failures)


def of_ledger(ledger: dict[str, Any]) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "zeroproxy_ledger_ok", "1: the ledger takes records", int(ledger.get("ok", True))
    )
    yield CounterMetricFamily(
        "zeroproxy_ledger_damaged",
        "Damaged ledgers that were put aside for a new one",
        ledger.get("damaged", 0),
    )
    yield GaugeMetricFamily("zeroproxy_ledger_bytes", "Size of the ledger's files", ledger["bytes"])
    yield GaugeMetricFamily(
        "zeroproxy_ledger_refused_records",
        "Records that the ledger refuses; they wait in a file beside it",
        ledger.get("refused", 0),
    )
    yield CounterMetricFamily(
        "zeroproxy_ledger_replaced",
        "Times the ledger's file was found deleted or replaced",
        ledger.get("replaced", 0),
    )
