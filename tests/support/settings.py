"""Settings of an engine for wire scripts, and short ways to vary them."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from zeroproxy._fast.engine.settings_types import EndpointSettings, Route, UpstreamSettings
from zeroproxy.config.schema import (
    Admission,
    Breaker,
    Hash,
    Hedge,
    Limits,
    Pool,
    Retry,
    Timeouts,
)

LIMITS = Limits(
    header_line_bytes=8192,
    body_min_rate=0,
    connections=1000,
)
POOL = Pool()

#: The sections of an upstream's settings; `settings` takes their keys flat.
SECTIONS: dict[str, Any] = {
    "admission": Admission(queue=16),
    "timeouts": Timeouts(),
    "retry": Retry(),
    "hedge": Hedge(budget=0.0),
}
#: Keys that mean nothing without their section.
LONG_NAMES = {"retry_on_busy": "on_busy", "hedge_after": "after", "hedge_budget": "budget"}
NO_BREAKER = Breaker(failures=0, error_rate=0.0, slow_start=0.0)
UPSTREAM = UpstreamSettings(
    balance="least_inflight",
    hash=Hash(on=()),
    breaker=NO_BREAKER,
    api_key="",
    cookies=False,
    **SECTIONS,
)


def settings(**keys: Any) -> UpstreamSettings:
    """UPSTREAM with other keys, those of its sections flat: `settings(queue=1)`."""
    found: dict[str, Any] = {}
    for key, value in keys.items():
        name = LONG_NAMES.get(key, key)
        section = next((s for s, of in SECTIONS.items() if name in of.__struct_fields__), None)
        if section is None:
            found[key] = value
        else:
            found[section] = replace(found.get(section, SECTIONS[section]), **{name: value})
    return replace(UPSTREAM, **found)


def routes(*rows: tuple[str, int] | tuple[str, int, str]) -> list[Route]:
    """Rows of model, index of the upstream and, if it has another, the server's name."""
    return [
        Route(model=model, upstream=index, serves=serves[0] if serves else "")
        for model, index, *serves in rows
    ]


def endpoint(n: int, sockaddr: bytes = b"\x02\0" + bytes(14)) -> EndpointSettings:
    """Without a sockaddr, an address nobody listens on."""
    return EndpointSettings(
        url=f"http://h:{n}", sockaddr=sockaddr, authority=b"h:%d" % n, pool=POOL
    )
