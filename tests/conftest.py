"""Hypothesis: ZEROPROXY_EXAMPLES is the number of examples a property gets (`make fuzz`: many).

Workers (`pytest -n`, `make test`): a file of a folder in GROUPED stays on one worker, for its
module's fixtures. So do all tests of one name in TOGETHER. Every other test runs anywhere.
"""

import os
from typing import Any

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

GROUPED = ("tests/e2e/", "tests/faults/", "tests/real/")
#: Files whose tests never run at the same time, and files outside of GROUPED.
TOGETHER = {
    "tests/faults/test_llama.py": "llama",  # a llama.cpp takes a core and more
    "tests/real/test_llama.py": "llama",
    "tests/real/test_llama_counts.py": "llama",
    "tests/real/test_llama_exec.py": "llama",
    "tests/real/test_llama_hold.py": "llama",
    "tests/unit/test_bench_programs.py": "bench programs",  # are compiled once
}


def group_of(node_id: str) -> str:
    """The name of the group that a test belongs to; of one that runs anywhere, its own."""
    path = node_id.partition("::")[0]
    return TOGETHER.get(path, path if path.startswith(GROUPED) else node_id)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Large groups first, single tests last, so that all workers end at about the same time. The
    mark that xdist has for groups does nothing with pytest 9.2 and xdist 3.8."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Groups(config, log)


@pytest.fixture
def logged():
    """Messages that the proxy logs meanwhile."""
    with LogLines() as lines:
        yield lines.messages
