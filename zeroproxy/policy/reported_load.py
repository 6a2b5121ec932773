"""The load that an inference server reports of itself, for `balance = "fastest"`.

Several proxies may send to one server, and each counts only its own exchanges. The gauges on the
server's page of counters (config/presets.py) show how many there are in all. With data parallelism
there is one of each per engine: requests are added up, of the caches the fullest counts. A number
is cut at LOAD_MOST: the page is another program's text, and may hold +Inf.
"""

from __future__ import annotations

from zeroproxy._fast.engine.settings_types import LOAD_MOST, ReportedLoad
from zeroproxy.config.presets import Preset
from zeroproxy.policy.http_client import get_page
from zeroproxy.policy.socket_addresses import Address
from zeroproxy.policy.wedge import samples_in

STALE_AFTER = 3  # intervals of health without a new report


def load_in(page: str, preset: Preset, lasts: float) -> ReportedLoad | None:
    """None: the page does not show how many requests run."""
    samples = samples_in(page, (*preset.running, *preset.waiting, *preset.cache))

    def all_of(names: tuple[str, ...]) -> list[float]:
        values = next((samples[name] for name in names if name in samples), [])
        return [min(max(v, 0.0), LOAD_MOST) for v in values]

    running, cache = all_of(preset.running), all_of(preset.cache)
    if not running:
        return None
    return ReportedLoad(
        running=min(sum(running), LOAD_MOST),
        waiting=min(sum(all_of(preset.waiting)), LOAD_MOST),
        cache=max(cache, default=-1.0), lasts=lasts,
    )  # fmt: skip


async def read_load(
    address: Address, preset: Preset, timeout: float, interval: float
) -> ReportedLoad | None:
    """None: it has no such page, or did not give it."""
    if not preset.metrics or not preset.running:
        return None
    page = await get_page(address, preset.metrics, timeout)
    if page is None:
        return None
    return load_in(page.decode("utf-8", "replace"), preset, STALE_AFTER * interval)
