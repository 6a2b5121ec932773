"""A real llama.cpp that is killed and started again under fifty callers: with hold all are served.

It accepts requests while it loads, and answers 503; so do its health probes."""

import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from tests.support.outages import until_up
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.real_servers import LlamaProcess, llama_files, wait_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
CALLERS = 50


@pytest.fixture
def llama():
    with LlamaProcess(*llama_files()) as server:
        wait_for(f"{server.url}/health", server.process, 120)
        yield server


def ask(url):
    """The status that the official client sees, which does not try again."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=300) as client:
        try:
            answer = client.chat.completions.create(
                model="smollm2", max_tokens=4, messages=[{"role": "user", "content": "Hi"}]
            )
        except openai.APIStatusError as error:
            return error.status_code
        assert answer.choices[0].message.content
        return 200


def through_a_restart(llama, admission, is_time):
    """Statuses of callers that come while the server is down, from its death on."""
    text = upstream_toml(llama.url, preset='"llamacpp"', admission=admission)
    with ProxyProcess(text) as proxy, ThreadPoolExecutor(CALLERS) as pool:
        assert ask(proxy.url) == 200
        llama.stop(signal.SIGKILL)
        found = [pool.submit(ask, proxy.url) for _ in range(CALLERS)]
        proxy.until(is_time, 60)
        llama.start()
        statuses = Counter(each.result(300) for each in found)
        status = proxy.until_quiet()
        until_up(proxy, llama, True)
        assert ask(proxy.url) == 200
    return statuses, status["upstreams"][0]["holding"]


def test_callers_of_a_server_that_is_started_anew_are_all_served(llama):
    statuses, held = through_a_restart(
        llama, "{ hold_when_down = 240.0 }",
        lambda s: s["upstreams"][0]["holding"]["now"] == CALLERS,
    )  # fmt: skip
    assert statuses == {200: CALLERS}
    assert held["total"] == CALLERS


def test_without_hold_they_all_fail(llama):
    statuses, held = through_a_restart(
        llama, "{}", lambda s: sum(r["count"] for r in s["requests"]) == CALLERS + 1
    )
    assert set(statuses) <= {502, 503}
    assert held["total"] == 0
