"""Metrics of tokens (JWT) that callers show.

Tests: tests/e2e/test_jwt.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


def tokens_of_callers(snapshot: Mapping[str, Any]) -> Iterator[Metric]:
    """Tokens of callers, where there are issuers."""
    found = snapshot.get("auth") or {}
    state, counts = found.get("jwt") or {}, found.get("tokens") or {}
    if not state.get("issuers"):
        return
    verdicts = CounterMetricFamily(
        "zeroproxy_jwt_verdicts", "Tokens that were verified, or refused", labels=("verdict",)
    )
    verdicts.add_metric(("verified",), state["verified"])
    for refusal, n in state["refused"].items():
        verdicts.add_metric((refusal,), n)
    yield verdicts
    yield CounterMetricFamily(
        "zeroproxy_jwt_turned_away",
        "Requests with a new token that found too many others being verified, answered 503",
        counts["turned_away"],
    )
    keys = GaugeMetricFamily(
        "zeroproxy_jwt_keys", "Public keys of an issuer; 0: none could be read", labels=("issuer",)
    )
    up = GaugeMetricFamily(
        "zeroproxy_jwt_up", "1: the last reading of its JWKS was good", labels=("issuer",)
    )
    for issuer in state["issuers"]:
        keys.add_metric((issuer["issuer"],), issuer["keys"])
        up.add_metric((issuer["issuer"],), not issuer["error"])
    yield from (keys, up)
