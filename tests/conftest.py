"""Hypothesis: ZEROPROXY_EXAMPLES is the number of examples a property gets (`make fuzz`: many)."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "house",
    max_examples=int(os.environ.get("ZEROPROXY_EXAMPLES", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("house")
