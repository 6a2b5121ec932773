import os

import pytest

from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.real_servers import run_llama


@pytest.fixture(scope="session")
def llama():
    with run_llama() as url:
        yield url


@pytest.fixture
def proxy(llama):
    with ProxyProcess(upstream_toml(llama)) as process:
        yield process
        process.until_quiet()


@pytest.fixture(scope="session")
def vllm():
    url = os.environ.get("ZEROPROXY_VLLM_URL")
    if not url:
        pytest.skip("NOT TESTED: ZEROPROXY_VLLM_URL names no running vLLM (docs/real-servers.md)")
    return url


@pytest.fixture
def vllm_proxy(vllm):
    with ProxyProcess(upstream_toml(vllm)) as process:
        yield process
        process.until_quiet()
