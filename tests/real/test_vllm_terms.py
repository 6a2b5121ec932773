"""Terms of keys on a real vLLM: prefix caches apart, priorities obeyed, bounds lowered. By hand.

The test of priorities needs `--scheduling-policy priority --max-num-seqs 1`.
"""

import asyncio
import time
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor, as_completed

import openai
import pytest

from tests.support.keys import toml_key
from tests.support.proxy_process import ProxyProcess, upstream_toml
from zeroproxy.policy.http_client import generate_one
from zeroproxy.policy.socket_addresses import resolve

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1200)]
FOR_EVER = {"ignore_eos": True}
SECRET = '[auth]\ncache_salt_secret = "a-secret-for-this-test"\n'
KEYS = {
    "a1": {"tenant": "a"}, "a2": {"tenant": "a"}, "b": {"tenant": "b"},
    "low": {"priority": 9}, "high": {"priority": 0}, "capped": {"max_tokens": 7},
    "model": {"max_tokens": "model"},
}  # fmt: skip


@pytest.fixture(scope="module")
def url(vllm):
    text = upstream_toml(vllm, preset='"vllm"', cache_salt='"tenant"', engine_priority='"header"')
    keys = "".join(toml_key(f"sk-{name}", name=name, **terms) for name, terms in KEYS.items())
    with ProxyProcess(f"{text}{SECRET}{keys}") as process:
        yield f"{process.url}/v1"
        process.until_quiet()


def counter(vllm, name):
    with urllib.request.urlopen(f"{vllm}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    return sum(float(x.rsplit(" ", 1)[1]) for x in lines if x.startswith((f"{name}{{", f"{name} ")))


def ask(url, key, prompt, tokens, **fields):
    with openai.OpenAI(base_url=url, api_key=f"sk-{key}", max_retries=0, timeout=600) as client:
        model = client.models.list().data[0].id
        return client.completions.create(
            model=model, prompt=prompt, max_tokens=tokens, extra_body=FOR_EVER | fields
        )


@pytest.fixture
def hits(vllm, url):
    """Tokens that a request of this key found in the prefix cache."""

    def of(key, prompt):
        before = counter(vllm, "vllm:prefix_cache_hits_total")
        ask(url, key, prompt, 1)
        return counter(vllm, "vllm:prefix_cache_hits_total") - before

    return of


def test_a_prefix_is_found_within_a_tenant_and_not_across(hits):
    prompt = f"{uuid.uuid4()} " + "the same long words again " * 120
    assert hits("a1", prompt) == 0
    assert hits("a2", prompt) > 0
    assert hits("b", prompt) == 0
    assert hits("b", prompt) > 0
    assert hits("a1", prompt) > 0


def test_a_bound_is_lowered_and_inserted(url):
    assert ask(url, "capped", "one two", 500).usage.completion_tokens == 7
    with openai.OpenAI(base_url=url, api_key="sk-capped", max_retries=0) as client:
        model = client.models.list().data[0].id
        answer = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "hi"}], extra_body=FOR_EVER
        )
    assert answer.usage.completion_tokens == 7


def test_a_cap_of_the_model_is_its_length(url, vllm):
    """vLLM takes its own length, and refuses more or lowers it, by version."""
    with openai.OpenAI(base_url=f"{vllm}/v1", api_key="none") as client:
        length = client.models.list().data[0].max_model_len
    usage = ask(url, "model", "one two", 10**7).usage
    assert usage.total_tokens == length


def test_a_salt_of_the_caller_is_refused(url):
    with pytest.raises(openai.BadRequestError, match="cache_salt is set here"):
        ask(url, "a1", "one", 1, cache_salt="mine")


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def test_one_high_among_twenty_low_is_next(url, vllm):
    address = asyncio.run(resolve(vllm))
    if asyncio.run(generate_one(address, 60, "", {"X-Vllm-Priority": "1"})) != 200:
        pytest.skip("NOT TESTED: this vLLM runs without --scheduling-policy priority")
    with ThreadPoolExecutor(32) as pool:
        running = pool.submit(ask, url, "low", "first", 300)
        until(lambda: counter(vllm, "vllm:num_requests_running") == 1)
        jobs = {pool.submit(ask, url, "low", f"low {k}", 8): "low" for k in range(20)}
        until(lambda: counter(vllm, "vllm:num_requests_waiting") == 20)
        if counter(vllm, "vllm:num_requests_running") != 1:
            pytest.skip("NOT TESTED: this vLLM runs without --max-num-seqs 1")
        jobs[pool.submit(ask, url, "high", "high", 8)] = "high"
        order = [jobs[job] for job in as_completed(jobs)]
        assert running.result().usage.completion_tokens == 300
    assert order == ["high"] + ["low"] * 20
