"""Answers that callers see while endpoints fail, and the state of the endpoints meanwhile."""

from __future__ import annotations

import http.client
import json
import urllib.request
from collections import Counter
from threading import Semaphore
from typing import Any, Protocol

from tests.support.proxy_process import ProxyProcess


class Server(Protocol):
    """An endpoint."""

    @property
    def url(self) -> str: ...


def chat(tokens: int, **more: Any) -> bytes:
    body = {"model": "sim-1", "max_tokens": tokens, "stream": True,
            "messages": [{"role": "user", "content": "x"}], **more}  # fmt: skip
    return json.dumps(body).encode()


def see(
    proxy: ProxyProcess,
    body: bytes,
    headers: dict[str, str],
    begun: Semaphore | None = None,
    path: str = "/v1/chat/completions",
) -> str:
    """The end that a caller sees: done, cut, or the status of an error. `begun` is called with the
    head."""
    conn = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
    try:
        conn.request("POST", path, body, headers)
        response = conn.getresponse()
        if begun is not None:
            begun.release()
        with response:
            if response.status != 200:
                return str(response.status)
            is_done = response.read().endswith(b"data: [DONE]\n\n")
            return "done" if is_done else "clean but not done"
    except http.client.IncompleteRead:
        return "cut"
    finally:
        conn.close()


def see_sim(
    proxy: ProxyProcess, tokens: int = 2, fault: str = "", begun: Semaphore | None = None
) -> str:
    """The same, of a simulator."""
    return see(proxy, chat(tokens), {"x-sim-fault": fault}, begun)


def endpoint(status: dict[str, Any], server: Server) -> dict[str, Any]:
    (found,) = [e for e in status["upstreams"][0]["endpoints"] if e["url"] == server.url]
    return dict(found)


def outcomes_of(proxy: ProxyProcess, server: Server) -> Counter[str]:
    """Exchanges of one endpoint so far, by outcome."""
    found: Counter[str] = Counter()
    for row in proxy.status()["requests"]:
        if row["endpoint"] == server.url:
            found[row["outcome"]] += row["count"]
    return found


def until_up(proxy: ProxyProcess, server: Server, up: bool) -> dict[str, Any]:
    return endpoint(proxy.until(lambda s: endpoint(s, server)["up"] is up, 30), server)


def until_in_flight(proxy: ProxyProcess, server: Server, n: int) -> None:
    proxy.until(lambda s: endpoint(s, server)["inflight"] == n, 30)


def lines(proxy: ProxyProcess, server: Server) -> list[str]:
    return [line for line in proxy.errors.read_text().splitlines() if server.url in line]


def post(proxy: ProxyProcess, path: str) -> dict[str, Any]:
    request = urllib.request.Request(proxy.admin_url + path, method="POST")
    with urllib.request.urlopen(request, timeout=20) as response:
        return dict(json.loads(response.read()))
