"""A real vLLM in development mode: every route of its /openapi.json, in every spelling.

By hand: see docs/real-servers.md. Its access log, named by ZEROPROXY_VLLM_LOG, shows what it got.
"""

import json
import os
import re
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.spellings import send_raw, spellings
from zeroproxy.config.surface import Surface, passes, rules_of

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]

RULES = rules_of(Surface().paths)
#: uvicorn's line; the path is decoded and quoted again.
LINE = re.compile(r'[0-9.]+:\d+ - "([A-Z]+) (\S+) HTTP/1\.[01]" (\d+)')


class AccessLog:
    def __init__(self, path):
        self.path = Path(path)
        self.start()

    def start(self):
        """Forget the lines so far."""
        self.at = self.path.stat().st_size

    def wait_for(self, *request):
        deadline = time.monotonic() + 20
        while request not in self.requests():
            assert time.monotonic() < deadline, f"{request} is not in {self.path}"
            time.sleep(0.05)

    def requests(self):
        """(method, decoded path) of the lines since then."""
        text = self.path.read_bytes()[self.at :].decode(errors="replace")
        return [
            (method, urllib.parse.unquote(target.partition("?")[0]))
            for method, target, _ in LINE.findall(text)
        ]


@pytest.fixture
def access_log():
    path = os.environ.get("ZEROPROXY_VLLM_LOG")
    if not path:
        pytest.skip("NOT TESTED: ZEROPROXY_VLLM_LOG names no log of vLLM (docs/real-servers.md)")
    return AccessLog(path)


def routes_of(url):
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=30) as response:
        paths = json.load(response)["paths"]
    return [
        (method.upper(), re.sub(r"\{[^}]*\}", "x", path))
        for path, operations in paths.items()
        for method in operations
    ]


def direct(url, method, target):
    return send_raw(int(url.rpartition(":")[2]), method, target)


def test_only_listed_routes_reach_it(vllm, access_log):
    routes = routes_of(vllm)
    inside = {path for method, path in routes if not passes(RULES, method, path)}
    assert "/collective_rpc" in inside, "start it with VLLM_SERVER_DEV_MODE=1"
    access_log.start()
    # Without probes of the proxy itself, which ask for /metrics and /health.
    text = upstream_toml(vllm, health='{ path = "", wedge_after = 0.0 }', preset='"openai"')
    n = 0
    with ProxyProcess(text) as proxy:
        for method, path in routes:
            targets = spellings(path.encode())
            assert len(targets) >= 40
            for target in targets:
                status = send_raw(proxy.port, method, target, b"{}" if method == "POST" else b"")
                assert status
                n += 1
        proxy.until_quiet()
    # A line of a later request: those before it are written.
    direct(vllm, "GET", b"/v1/models?last")
    time.sleep(1.0)
    found = access_log.requests()
    assert {("POST", "/v1/chat/completions"), ("GET", "/v1/models")} <= set(found)
    for method, path in found:
        assert passes(RULES, method, path), (method, path)
    assert not {path for _, path in found} & inside
    print(f"{len(routes)} routes, {n} requests, {len(found)} reached it: {sorted(set(found))}")


def test_the_log_shows_what_is_decoded(vllm, access_log):
    """Otherwise the test above would prove nothing."""
    direct(vllm, "GET", b"/is_slee%70ing")
    direct(vllm, "GET", b"/version?x")
    access_log.wait_for("GET", "/version")
    assert ("GET", "/is_sleeping") in access_log.requests()


def test_members_and_fields_that_control_the_engine(vllm, access_log):
    with ProxyProcess(upstream_toml(vllm, preset='"openai"', health='{ path = "" }')) as proxy:
        for member in Surface().refuse_fields:
            body = json.dumps({"model": "tiny", "prompt": "a", member.replace("*", "x"): 1})
            assert send_raw(proxy.port, "POST", b"/v1/completions", body.encode()) == 400
        body = b'{"model":"tiny","prompt":"a","max_tokens":1}'
        assert send_raw(proxy.port, "POST", b"/v1/completions", body) == 200
    access_log.wait_for("POST", "/v1/completions")
    assert access_log.requests().count(("POST", "/v1/completions")) == 1
