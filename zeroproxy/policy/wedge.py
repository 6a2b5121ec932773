"""An endpoint that answers its probes and does nothing.

vLLM's /health answers 200 while its engine has hung; so may others. It is wedged where three things
hold together: it owes an answer, no data has come for long, its own counters do not move. A front
end's comments and pings are no data. A long prefill is silent too, but its counters move with every
step. Without counters, silence is a proof only after the content of a response has begun. Before
that it may be a queue or a prefill.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from zeroproxy.config.presets import Preset
from zeroproxy.policy.http_client import get_page
from zeroproxy.policy.socket_addresses import Address

Counters = Mapping[str, float]


def samples_in(page: str, names: tuple[str, ...]) -> dict[str, list[float]]:
    """The samples of these names on a Prometheus page, one per set of labels."""
    samples: dict[str, list[float]] = {}
    lines = (line for line in page.splitlines() if line.startswith(names))
    try:
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            for sample in family.samples:
                if sample.name in names and not math.isnan(sample.value):
                    samples.setdefault(sample.name, []).append(sample.value)
    except ValueError:
        return {}
    return samples


def counters_in(page: str, preset: Preset) -> Counters:
    """The samples of a Prometheus page that move while an engine works, summed over labels."""
    return {name: sum(values) for name, values in samples_in(page, preset.counters).items()}


async def read_counters(address: Address, preset: Preset, timeout: float) -> Counters:
    """Empty: it has no such page, or did not give it."""
    if not preset.metrics:
        return {}
    page = await get_page(address, preset.metrics, timeout)
    return counters_in(page.decode("utf-8", "replace"), preset) if page else {}


class HangDetector:
    """The silence of one endpoint, and whether it is a hang."""

    def __init__(self) -> None:
        self._seen: Counters = {}
        self.is_wedged = False
        self.since = 0.0  # monotonic
        self.rounds = 0  # since it was found wedged

    def reset(self) -> None:
        """It moves: all is forgotten."""
        self._seen = {}
        self.is_wedged = False

    def is_proof(self, sample: Mapping[str, Any], counters: Counters) -> bool:
        """True where this sample, with the one before, shows that it is wedged."""
        seen, self._seen = self._seen, counters
        if counters:
            return bool(seen) and seen == counters
        return bool(sample["begun"])

    def has_moved(self, counters: Counters) -> bool:
        return bool(self._seen) and bool(counters) and counters != self._seen

    def confirm(self, now: float) -> None:
        self.is_wedged = True
        self.since = now
        self.rounds = 0
