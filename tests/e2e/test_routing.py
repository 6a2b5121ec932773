"""Two upstreams behind one port, with the official client."""

import json
import urllib.request

import openai
import pytest

from tests.support.nginx_server import NginxServer
from tests.support.proxy_process import ProxyProcess
from tests.support.sim_thread import SimThread

TEXT = """
[[upstream]]
name = "one"
endpoints = ["{one}"]
models = ["first", {{ name = "gpt-4o", serves = "first" }}]

[[upstream]]
name = "two"
endpoints = ["{two}"]
"""


@pytest.fixture
def proxy():
    with (
        SimThread(models=("first",)) as one,
        SimThread(models=("second",)) as two,
        ProxyProcess(TEXT.format(one=one.url, two=two.url)) as proxy,
    ):
        proxy.until(lambda s: len(s["servers"]) == 2)
        yield proxy


def client_of(proxy):
    return openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="x", max_retries=0)


def completion(client, model, **more):
    return client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "hello"}], max_tokens=5, **more
    )


def test_each_model_is_answered_by_its_own_server(proxy):
    with client_of(proxy) as client:
        assert completion(client, "first").model == "first"
        assert completion(client, "second").model == "second"
        assert completion(client, "gpt-4o").model == "first"
        chunks = list(completion(client, "gpt-4o", stream=True))
        assert {chunk.model for chunk in chunks} == {"first"}
        assert all(chunk.usage is None for chunk in chunks)
        with pytest.raises(openai.NotFoundError):
            completion(client, "third")
    requests = proxy.until(lambda s: sum(r["count"] for r in s["requests"]) == 5)["requests"]
    counts = {(r["upstream"], r["status"]): r["count"] for r in requests}
    assert counts == {("one", 200): 3, ("two", 200): 1, ("two", 404): 1}


def test_one_list_has_the_models_of_all(proxy):
    with client_of(proxy) as client:
        assert [model.id for model in client.models.list()] == ["first", "gpt-4o", "second"]


def test_behind_a_stock_nginx_every_model_is_found(proxy):
    """HTTP/1.0 with a conn per request, and bodies that come in several packets, model last."""
    body = {"messages": [{"role": "user", "content": "x" * 30_000}], "max_tokens": 1}
    with NginxServer(proxy.url) as nginx:
        for k in range(60):
            model = ("first", "second")[k % 2]
            request = urllib.request.Request(
                f"http://127.0.0.1:{nginx.port}/v1/chat/completions",
                json.dumps({**body, "model": model}).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=20) as response:
                assert json.load(response)["model"] == model
