import pytest

from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.sim_thread import SimThread


@pytest.fixture(scope="module")
def sim():
    with SimThread() as thread:
        yield thread


@pytest.fixture
def proxy(sim):
    with ProxyProcess(upstream_toml(sim.url)) as process:
        yield process
        process.until_quiet()
