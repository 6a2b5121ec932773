"""Rates and percentiles between two looks at /status. Tests: tests/unit/test_top_rates.py."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

Status = dict[str, Any]
#: The outcome of an exchange that went its whole way.
WELL = "ok"


class ModelRow(NamedTuple):
    """Tokens of one model and tenant: a second, and since the start."""

    model: str
    tenant: str
    prompt_rate: float
    completion_rate: float
    prompt: int
    completion: int


def has_failed(row: Status) -> bool:
    """True for a row of `requests` whose exchanges were broken off, or answered 5xx."""
    return bool(row["outcome"] != WELL or row["status"] >= 500)


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds:,.2f} s" if seconds >= 1 else f"{seconds * 1e3:,.1f} ms"


def quantile(counts: list[int], bounds_ns: list[int], share: float) -> float | None:
    """Seconds below which `share` of the values lie; None: there are none. Within a bucket they are
    taken to be spread evenly, as Prometheus does. The last bucket gives its lower bound."""
    total = sum(counts)
    if total == 0:
        return None
    wanted, seen = share * total, 0
    for k, count in enumerate(counts):
        if count and seen + count >= wanted:
            low = bounds_ns[k - 1] if k else 0
            if k == len(bounds_ns):
                return low / 1e9
            return (low + (bounds_ns[k] - low) * (wanted - seen) / count) / 1e9
        seen += count
    return None


@dataclass(frozen=True)
class Change:
    """From `old` to `new`, `seconds` apart. A process that was started anew has no past."""

    old: Status
    new: Status
    seconds: float

    def _before(self) -> Status:
        if self.new["uptime_s"] < self.old["uptime_s"]:
            return {"requests": [], "tokens": [], "upstreams": []}
        return self.old

    def request_rate(
        self, upstream: str = "", endpoint: str = "", *, is_failed: bool = False
    ) -> float:
        """Exchanges that ended, a second."""

        def count(status: Status) -> int:
            return sum(
                row["count"] for row in status["requests"]
                if (not upstream or row["upstream"] == upstream)
                and (not endpoint or row["endpoint"] == endpoint)
                and (not is_failed or has_failed(row))
            )  # fmt: skip

        return max(0, count(self.new) - count(self._before())) / self.seconds

    def token_rate(self, kind: str) -> float:
        def count(status: Status) -> int:
            return sum(row[kind] for row in status["tokens"])

        return max(0, count(self.new) - count(self._before())) / self.seconds

    def quantile(self, upstream: int, name: str, share: float) -> float | None:
        """Of a histogram of the upstream with this number. Seconds; None: nothing came."""
        now = self.new["upstreams"][upstream]
        before = self._before()["upstreams"]
        counts = list(now["histograms"][name]["counts"])
        if upstream < len(before) and before[upstream]["name"] == now["name"]:
            old = before[upstream]["histograms"][name]["counts"]
            counts = [max(0, a - b) for a, b in zip(counts, old, strict=True)]
        return quantile(counts, self.new["bounds_ns"], share)

    def models(self) -> list[ModelRow]:
        """The busiest first, by tokens a second, then by all tokens."""

        def sums(status: Status) -> dict[tuple[str, str], Counter[str]]:
            found: dict[tuple[str, str], Counter[str]] = {}
            for row in status["tokens"]:
                counter = found.setdefault((row["model"], row["tenant"]), Counter())
                counter.update(prompt=row["prompt"], completion=row["completion"])
            return found

        now, before = sums(self.new), sums(self._before())
        rows = []
        for (model, tenant), tokens in now.items():
            past = before.get((model, tenant), Counter())
            prompt = max(0, tokens["prompt"] - past["prompt"]) / self.seconds
            completion = max(0, tokens["completion"] - past["completion"]) / self.seconds
            rows.append(ModelRow(model, tenant, prompt, completion, tokens["prompt"],
                                 tokens["completion"]))  # fmt: skip
        return sorted(
            rows, key=lambda r: (-r.completion_rate - r.prompt_rate, -r.completion - r.prompt)
        )

    def outcomes(self) -> list[tuple[str, int]]:
        """Those that are no success, with how often each came, most first."""
        counts: Counter[str] = Counter()
        for row in self.new["requests"]:
            if has_failed(row):
                name = row["outcome"] if row["outcome"] != WELL else f"status {row['status']}"
                counts[name] += row["count"]
        return counts.most_common()
