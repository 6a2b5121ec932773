"""A real vLLM behind the proxy. By hand: see docs/real-servers.md."""

import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1200)]
MESSAGES = [{"role": "user", "content": "hello there"}]
FOR_EVER = {"ignore_eos": True}


@pytest.fixture
def client(vllm_proxy):
    url = f"{vllm_proxy.url}/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=300) as c:
        yield c


@pytest.fixture
def model(client):
    return client.models.list().data[0].id


def running(url):
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
        text = response.read().decode()
    values = [x for x in text.splitlines() if x.startswith("vllm:num_requests_running{")]
    return sum(float(x.rsplit(" ", 1)[1]) for x in values)


def stream(client, model, tokens, **options):
    with client.chat.completions.create(
        model=model, messages=MESSAGES, max_tokens=tokens, stream=True, extra_body=FOR_EVER,
        stream_options={"include_usage": True, **options},
    ) as chunks:  # fmt: skip
        return [c.usage for c in chunks if c.usage]


def test_streaming_with_usage_and_running_usage(client, model):
    assert stream(client, model, 16)[-1].completion_tokens == 16
    counts = [u.completion_tokens for u in stream(client, model, 8, continuous_usage_stats=True)]
    assert counts == sorted(counts)
    assert counts[-1] == 8


def test_two_choices(client, model):
    answer = client.chat.completions.create(
        model=model, messages=MESSAGES, n=2, max_tokens=4, extra_body=FOR_EVER
    )
    assert len(answer.choices) == 2
    assert answer.usage.completion_tokens == 8


def test_an_abort_frees_the_engine(client, model, vllm):
    with client.chat.completions.create(
        model=model, messages=MESSAGES, max_tokens=900, stream=True, extra_body=FOR_EVER
    ) as chunks:
        seen = iter(chunks)
        next(seen)
        next(seen)
        assert running(vllm) == 1
    deadline = time.monotonic() + 10
    while running(vllm):
        assert time.monotonic() < deadline, "the engine still runs it"
        time.sleep(0.05)


def test_two_hundred_mixed_requests_are_counted_exactly(client, model, vllm_proxy):
    def one(k):
        if k % 3 == 0:
            answer = client.chat.completions.create(
                model=model, messages=MESSAGES, max_tokens=1 + k % 7, extra_body=FOR_EVER
            )
            return answer.usage.completion_tokens
        return stream(client, model, 1 + k % 7, continuous_usage_stats=k % 2 == 0)[-1] \
            .completion_tokens  # fmt: skip

    with ThreadPoolExecutor(64) as pool:
        counts = list(pool.map(one, range(200)))
    assert counts == [1 + k % 7 for k in range(200)]
    (metered,) = vllm_proxy.until_idle()["tokens"]
    assert metered["completion"] == sum(counts)
