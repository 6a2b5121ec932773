"""Two proxies share a key's quota through a real Redis, which may go away."""

import json
import time
import urllib.error
import urllib.request
from contextlib import ExitStack

import pytest

from tests.support.keys import toml_key
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.redis_server import RedisServer

KEY = "sk-shared"
SECRETS = (KEY, RedisServer.password)


@pytest.fixture
def redis():
    with RedisServer(keeps=False) as server:
        yield server


def config(sim, redis, **quota):
    shared = f'[auth.shared]\nurl = "{redis.url}"\ninterval = 0.1\npatience = 1.0\n'
    return toml_key(KEY, name="k", **quota) + shared + upstream_toml(sim.url)


def chat_status(proxy, tokens=1):
    """Status of one request."""
    body = {"model": "sim-1", "max_tokens": tokens, "messages": [{"role": "user", "content": "x"}]}
    request = urllib.request.Request(
        f"{proxy.url}/v1/chat/completions", json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"},
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            response.read()
            return response.status
    except urllib.error.HTTPError as error:
        with error:
            error.read()
            return error.code


def shared(status):
    return status["auth"]["shared"]


def quota(status):
    (found,) = status["auth"]["quotas"]
    return found


@pytest.fixture
def pair(sim, redis):
    with ExitStack() as stack:
        proxies = [
            stack.enter_context(ProxyProcess(config(sim, redis, requests_per_minute=40)))
            for _ in range(2)
        ]
        for proxy in proxies:
            proxy.until(lambda s: shared(s)["connected"] and shared(s)["proxies"] == 2)
        yield proxies


def is_settled(status):
    """Wait until the tokens used have been reported to Redis."""
    return shared(status)["connected"] and quota(status)["leased"]


def test_two_proxies_let_in_one_quota_between_them(pair):
    begin = time.monotonic()
    answers = [chat_status(proxy) for _ in range(60) for proxy in pair]
    let_in = answers.count(200)
    flowed_in = 40 * (time.monotonic() - begin) / 60
    assert set(answers) == {200, 429}
    # And one half, which the other may have let in before the report.
    assert 20 <= let_in <= 40 + flowed_in + 20
    assert let_in == sum(quota(proxy.status())["used"] for proxy in pair)
    for proxy in pair:
        proxy.until(is_settled)
    text = pair[0].fetch("/metrics").decode()
    assert "zeroproxy_quota_shared_up 1.0" in text
    assert "zeroproxy_quota_proxies 2.0" in text


def test_what_one_has_used_the_other_has_not(pair):
    first, second = pair
    while chat_status(first) == 200:
        pass
    # Its own half was gone at once, but it goes on to take what the other leaves.
    first.until(is_settled)
    assert quota(first.status())["used"] >= 20
    chat_status(second)
    second.until(lambda s: is_settled(s) and quota(s)["level"] < 20)


def test_a_dead_redis_leaves_each_its_part_and_it_is_shared_again_when_it_is_back(pair, redis):
    first, second = pair
    chat_status(first)
    first.until(is_settled)
    redis.stop()
    for proxy in pair:
        proxy.until(lambda s: not shared(s)["connected"] and not quota(s)["leased"])
    assert shared(first.status())["proxies"] == 2
    answers = [chat_status(first) for _ in range(60)]
    assert 10 <= answers.count(200) <= 40
    assert 429 in answers
    assert "zeroproxy_quota_shared_up 0.0" in first.fetch("/metrics").decode()
    redis.start()
    chat_status(second)
    second.until(is_settled)
    for proxy in pair:
        proxy.until(lambda s: shared(s)["connected"])
        said = proxy.errors.read_text()
        assert "keeps to its part of the quotas" in said
        assert "shared again" in said
        for secret in SECRETS:
            assert secret not in said + json.dumps(proxy.status())


def test_a_proxy_starts_without_redis(sim, redis):
    redis.stop()
    with ProxyProcess(config(sim, redis, requests_per_minute=3)) as proxy:
        proxy.until(lambda s: shared(s)["failures"] > 0)
        assert [chat_status(proxy) for _ in range(4)] == [200, 200, 200, 429]


def test_tokens_are_a_debt_of_all(sim, redis):
    """Of ten minutes' worth at most, however large the answer; each proxy has its part of it."""
    text = config(sim, redis, tokens_per_minute=50)
    with ProxyProcess(text) as first, ProxyProcess(text) as second:
        for proxy in (first, second):
            proxy.until(lambda s: shared(s)["proxies"] == 2)
        assert chat_status(first, tokens=5000) == 200
        first.until(lambda s: is_settled(s) and -250 <= quota(s)["level"] < -200)
        # The other one's share was granted before: its next request goes on that, then it knows.
        chat_status(second)
        second.until(lambda s: is_settled(s) and -250 <= quota(s)["level"] < -200)
        assert chat_status(second) == 429


def test_no_key_and_no_digest_is_in_redis(pair, redis):
    first, _ = pair
    chat_status(first)
    first.until(is_settled)
    with redis.client() as client:
        names = client.keys("*")
        held = json.dumps([names, [client.hgetall(n) for n in names if "proxies" not in n]])
    assert len(names) == 2
    assert KEY not in held
    assert toml_key(KEY).split('"')[1] not in held
