"""The loads. One row, one load; the same for every contestant.

Note 1. Where contestants could deliver different rates, the rate is set here, below the limit of
        the slowest serious one. CPU per unit is compared at equal delivered load. Closed loops
        (requests-64, large-bodies, connects) are the exception, marked `paced = False`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """One load."""

    name: str
    mode: str  # of the generator: streams, requests, connects, idle
    conns: int
    unit: str = "event"  # what CPU time is divided by
    step_ms: int = 20
    spread: int = 1  # sub-steps that the exchanges are dealt out over; 1: one burst per step
    events: int = 200  # of one exchange
    leave: int = 0  # callers hang up after so many events; 0: never
    body: int = 0  # bytes of a request body, at least
    rate: int = 0  # requests per second; 0: closed loop
    warmup: float = 5.0
    ramp: float = 1.0
    quick: bool = False
    tls: bool = False  # in front: not for direct and floor, which speak none

    @property
    def paced(self) -> bool:
        """True if every contestant is offered the same load per second."""
        return (self.mode in ("streams", "idle") or self.rate > 0) and not self.leave

    @property
    def nominal(self) -> float:
        """Units per second when nobody is too slow; 0: not set."""
        if self.mode == "streams" and not self.leave:
            return self.conns * 1000 / self.step_ms
        return float(self.rate)


# 4,000 and 9,000 exchanges at 20 ms would be 200,000 events/s and more, which no core relays. They
# are there for memory and fairness: their steps are longer, and the rate stays near 20,000/s.
SCENARIOS = (
    Scenario("streams-64", "streams", 64, quick=True),
    Scenario("streams-512", "streams", 512, quick=True),
    Scenario("streams-512-spread", "streams", 512, spread=20),
    Scenario("streams-4000", "streams", 4000, step_ms=200, events=50, warmup=8, ramp=4),
    Scenario("streams-9000", "streams", 9000, step_ms=400, events=25, warmup=12, ramp=8),
    Scenario("requests-64", "requests", 64, unit="request", warmup=1, ramp=0.2, quick=True),
    Scenario("requests-paced", "requests", 64, unit="request", rate=3000, warmup=1, ramp=0.2),
    Scenario("large-bodies", "requests", 16, unit="request", body=1 << 20, warmup=1, ramp=0.2),
    Scenario("connects", "connects", 64, unit="request", warmup=1, ramp=0.2),
    Scenario("streams-512-tls", "streams", 512, tls=True),
    Scenario("requests-64-tls", "requests", 64, unit="request", warmup=1, ramp=0.2, tls=True),
    Scenario("connects-tls", "connects", 64, unit="request", warmup=1, ramp=0.2, tls=True),
    Scenario("idle", "idle", 1000, unit="second", warmup=2, ramp=1, quick=True),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
BY_HAND = (
    "streams-9000",
    "streams-512-spread",
    "streams-512-tls",
    "requests-64-tls",
    "connects-tls",
)
DEFAULT = tuple(s.name for s in SCENARIOS if s.name not in BY_HAND)

# Run by name, or by that of their group.
SATURATION = tuple(
    Scenario(f"saturation-{conns}", "streams", conns, warmup=4.5)
    for conns in (128, 256, 512, 768, 1024, 1280, 1536, 2048)
)
# 10,000 events/s whatever the number of exchanges, so that only that number grows.
GROWTH = tuple(
    Scenario(f"growth-{conns}", "streams", conns, step_ms=conns // 10, events=4000 // (conns // 10),
             warmup=6, ramp=2)
    for conns in (250, 500, 1000, 2000, 4000, 8000)
)  # fmt: skip
SCENES = (
    # The load that broke the proxies this project began with: 512 callers at the same instant.
    Scenario("seed-512", "streams", 512, warmup=0, ramp=0),
    Scenario("aborts", "streams", 64, unit="request", leave=3, warmup=2, ramp=0.2),
)
GROUPS = {"saturation": SATURATION, "growth": GROWTH}
DEFAULT += tuple(scenario.name for scenario in SCENES)
SCENARIOS += SCENES + SATURATION + GROWTH
BY_NAME |= {scenario.name: scenario for scenario in SCENARIOS}
