"""Hypothesis: ZEROPROXY_EXAMPLES is the number of examples a property gets (`make fuzz`: many)."""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.support.log_lines import LogLines

settings.register_profile(
    "house",
    max_examples=int(os.environ.get("ZEROPROXY_EXAMPLES", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("house")


@pytest.fixture
def said():
    """What the proxy logs meanwhile, message by message."""
    with LogLines() as lines:
        yield lines.messages
