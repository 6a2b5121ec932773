"""The load that an inference server reports of itself, for `balance = "fastest"`.

Several proxies may send to one server, and each counts only its own exchanges: the gauges on the
server's page of counters (config/presets.py) show how many there are in all. With data parallelism
there is one of each per engine: requests are added up, of the caches the fullest counts.
"""

from __future__ import annotations

from typing import NamedTuple

from zeroproxy.config.presets import Preset
from zeroproxy.policy.addresses import Address
from zeroproxy.policy.http_client import get_page
from zeroproxy.policy.wedge import samples_in

STALE_AFTER = 3  # intervals of health without a new report


class Load(NamedTuple):
    """In the order of the engine's word `load`."""

    running: float
    waiting: float
    cache: float  # 0 to 1; -1: not reported
    lasts: float  # seconds until it is forgotten


def load_in(page: str, preset: Preset, lasts: float) -> Load | None:
    """None: the page does not show how many requests run."""
    samples = samples_in(page, (*preset.running, *preset.waiting, *preset.cache))

    def all_of(names: tuple[str, ...]) -> list[float]:
        return next(([max(v, 0.0) for v in samples[name]] for name in names if name in samples), [])

    running, cache = all_of(preset.running), all_of(preset.cache)
    if not running:
        return None
    return Load(sum(running), sum(all_of(preset.waiting)), max(cache, default=-1.0), lasts)


async def read_load(
    address: Address, preset: Preset, timeout: float, interval: float
) -> Load | None:
    """None: it has no such page, or did not give it."""
    if not preset.metrics or not preset.running:
        return None
    page = await get_page(address, preset.metrics, timeout)
    if page is None:
        return None
    return load_in(page.decode("utf-8", "replace"), preset, STALE_AFTER * interval)
