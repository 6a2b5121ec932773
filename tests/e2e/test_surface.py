"""The surface in front of a real uvicorn, which decodes paths before an application routes them."""

import json
import posixpath
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.servers import ServerProcess
from tests.support.spellings import send_raw, spellings
from zeroproxy.config.surface import Surface, passes, rules_of

RULES = rules_of(Surface().paths)
#: Routes of vLLM, SGLang, llama.cpp and Ollama that are no inference.
INSIDE = (
    "POST /sleep", "POST /collective_rpc", "POST /update_weights", "POST /v1/load_lora_adapter",
    "GET /metrics", "GET /server_info", "GET /slots", "POST /api/pull", "POST /flush_cache",
)  # fmt: skip
LISTED = "POST /v1/chat/completions"


class Recorder(ServerProcess):
    def command(self):
        script = Path("tests/support/record_paths.py").resolve()
        return [sys.executable, str(script), str(self.port)]

    def ping(self):
        self.seen()

    def seen(self):
        url = f"http://127.0.0.1:{self.port}/seen"
        with urllib.request.urlopen(url, timeout=5) as response:
            return {tuple(each) for each in json.load(response)}


@pytest.fixture(scope="module")
def recorder():
    pytest.importorskip("uvicorn", reason="NO UVICORN: pip install uvicorn")
    with Recorder() as server:
        yield server


def toml(recorder, surface=""):
    # Without probes of the proxy itself.
    return upstream_toml(
        f"http://127.0.0.1:{recorder.port}", health='{ path = "", wedge_after = 0.0 }',
        preset='"vllm"', surface=surface or "{}",
    )  # fmt: skip


def send_all(port):
    statuses = set()
    for route in (*INSIDE, LISTED):
        method, path = route.split(" ")
        for target in spellings(path.encode()):
            statuses.add(send_raw(port, method, target, b"{}" if method == "POST" else b""))
    return statuses


def test_whatever_is_decoded_only_listed_routes_are_reached(recorder):
    with ProxyProcess(toml(recorder)) as proxy:
        assert send_all(proxy.port) <= {200, 400, 404, 405}
        found = recorder.seen()
        assert tuple(LISTED.split(" ")) in found
        for method, path in found:
            assert passes(RULES, method, path), (method, path)
            assert posixpath.normpath(path) == path
        assert not {path for _, path in found} & {route.split(" ")[1] for route in INSIDE}
        counted = proxy.fetch("/metrics").decode()
        assert 'outcome="downstream/head/surface"' in counted


def test_without_the_surface_the_same_requests_reach_them(recorder):
    """The spellings are worth something: uvicorn decodes a good part of them into the route."""
    with ProxyProcess(toml(recorder, '{ paths = "all" }')) as proxy:
        send_all(proxy.port)
        found = recorder.seen()
        for route in INSIDE:
            assert tuple(route.split(" ")) in found
