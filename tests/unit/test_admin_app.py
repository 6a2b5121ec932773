"""The admin application over a source that is only a dict."""

import copy
import logging
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from zeroproxy.admin.app import create_app
from zeroproxy.admin.server import AdminServer
from zeroproxy.server.listener import bind

BUCKETS = 24


def histogram(first: int, last: int, sum_ns: int) -> dict[str, Any]:
    counts = [first, *[0] * (BUCKETS - 2), last]
    return {"counts": counts, "sum_ns": sum_ns, "n": first + last}


def endpoint(url: str, **more: Any) -> dict[str, Any]:
    return {
        "index": 0, "url": url, "up": True, "draining": False, "weight": 1, "inflight": 3,
        "limit": 0, "idle": 2, "opening": 1, "connects": 9, "connect_failures": 4, "reused": 30,
        "stale": 5, "failures": 6, "busy": 0,
        "breaker": {"state": "closed", "to": {"closed": 0, "half_open": 0, "open": 0}},
        "stale_retries": 1, "retries_withheld": 2, "unframed": 0,
        "pool": {"idle_limit_s": 1.8, "warmed": 4, "closed": {"endpoint": 2, "idle": 3}}, **more,
    }  # fmt: skip


SNAPSHOT: dict[str, Any] = {
    "version": "9.9", "uptime_s": 1.5, "phase": "serving",
    "connections": {"downstream": 7, "idle": 2, "accepted": 70, "refused": 8, "starved": 1,
                    "limit": 100},
    "fds": {"downstream": 7, "upstream": 5, "listener": 1},
    "upstreams": [{
        "name": "a", "inflight": 3, "queued": 2, "max_inflight": 0, "waiting": 1,
        "waited": 5, "displaced": 0,
        "holding": {"now": 2, "total": 7, "oldest_s": 1.5, "down_s": 2.0},
        "caller_retries": 4, "too_late": 6, "hedges": 2, "hedges_won": 1,
        "histograms": {
            "ttft": histogram(2, 1, 3_500_000_000), "request": histogram(1, 0, 10),
            "queue_wait": histogram(0, 0, 0), "gap": histogram(40, 0, 1_000_000),
            "overhead": histogram(1, 0, 5),
        },
        "endpoints": [endpoint("http://h:1"), endpoint("unix:/x", up=False, draining=False),
                      endpoint("http://h:2", draining=True)],
    }],
    "requests": [
        {"upstream": "a", "endpoint": "http://h:1", "status": 200, "outcome": "ok", "count": 5},
        {"upstream": "a", "endpoint": "http://h:1", "status": 502,
         "outcome": "upstream/waiting/reset", "count": 2},
        # Kept apart in C by the phase it ended in, which "ok" does not show.
        {"upstream": "a", "endpoint": "http://h:1", "status": 200, "outcome": "ok", "count": 1},
    ],
    "tokens": [
        {"upstream": "a", "model": 'm"\n\\', "tenant": "", "prompt": 10, "completion": 20,
         "cached": 3, "reasoning": 4},
        {"upstream": "a", "model": "\ufffd", "tenant": "", "prompt": 1, "completion": 1,
         "cached": 0, "reasoning": 0},
        {"upstream": "a", "model": "\ufffd", "tenant": "", "prompt": 2, "completion": 2,
         "cached": 0, "reasoning": 0},
    ],
    "ring": {"records": 1, "overflow": 6},
    "keepalive": {"comments": 8, "early_heads": 3},
    "reloads": {"ok": 2, "failed": 1, "last": "failed"},
    "counters": {"relays": 7},
    "bounds_ns": [250_000 * 2**k for k in range(BUCKETS - 1)],
}  # fmt: skip


class Source:
    def __init__(self) -> None:
        self.is_ready, self.reasons = True, []
        self.drains = 0
        self.taken: Any = copy.deepcopy(SNAPSHOT)

    def snapshot(self) -> dict[str, Any]:
        if isinstance(self.taken, Exception):
            raise self.taken
        return self.taken

    def ready(self) -> tuple[bool, list[str]]:
        return self.is_ready, self.reasons

    def drain(self) -> None:
        self.drains += 1


@pytest.fixture
def source():
    return Source()


@pytest.fixture
async def client(source):
    async with TestClient(TestServer(create_app(source))) as found:
        yield found


async def scrape(client) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Values by sample name and labels; a sample that occurs twice is a failure."""
    text = await (await client.get("/metrics")).text()
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in found.setdefault(sample.name, {}), sample
            found[sample.name][labels] = sample.value
    return found


def values(samples: dict[tuple[tuple[str, str], ...], float], *names: str) -> dict[Any, float]:
    return {tuple(dict(labels)[n] for n in names): value for labels, value in samples.items()}


# ---------------------------------------------------------------- routes


async def test_healthz_says_that_the_process_runs(client, source):
    source.is_ready = False
    response = await client.get("/healthz")
    assert response.status == 200
    assert await response.json() == {"status": "ok"}


async def test_readyz_says_why_not(client, source):
    assert (await client.get("/readyz")).status == 200
    source.is_ready, source.reasons = False, ["http://h:1: Connection refused"]
    response = await client.get("/readyz")
    assert response.status == 503
    assert await response.json() == {
        "ready": False, "reasons": ["http://h:1: Connection refused"],
    }  # fmt: skip


async def test_status_is_the_snapshot(client):
    response = await client.get("/status")
    assert response.content_type == "application/json"
    assert await response.json() == SNAPSHOT


async def test_drain_is_asked_for_by_post_only(client, source):
    response = await client.get("/-/drain")
    assert (response.status, response.headers["Allow"], source.drains) == (405, "POST", 0)
    response = await client.post("/-/drain")
    assert (response.status, source.drains) == (202, 1)


@pytest.mark.parametrize(
    "field",
    [{"Origin": "http://evil.test"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=str,
)
async def test_a_page_in_a_browser_cannot_drain(client, source, field):
    response = await client.post("/-/drain", headers=field)
    assert (response.status, source.drains) == (403, 0)
    assert (await client.get("/status", headers=field)).status == 403


async def test_the_first_page_links_what_there_is_and_loads_nothing(client):
    response = await client.get("/")
    text = await response.text()
    assert response.content_type == "text/html"
    for path in ("/status", "/usage", "/metrics", "/readyz", "/healthz"):
        assert f'href="{path}"' in text
    assert "src=" not in text
    assert "http" not in text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nope", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/", 405),
        ("POST", "/-/nope", 404),
    ],
)
async def test_errors_are_json(client, method, path, status):
    response = await client.request(method, path)
    assert response.status == status
    assert (await response.json())["error"]["code"] == status


async def test_a_failure_is_logged_and_tells_the_caller_nothing(client, source, caplog):
    source.taken = RuntimeError("a secret")
    with caplog.at_level(logging.ERROR):
        for path in ("/status", "/metrics"):
            response = await client.get(path)
            assert response.status == 500
            assert "secret" not in await response.text()
    assert [r.name for r in caplog.records] == ["zeroproxy.admin.app"] * 2


@pytest.mark.parametrize("path", ["/", "/status", "/metrics", "/readyz", "/nope"])
async def test_every_answer_keeps_caches_and_browsers_from_guessing(client, path):
    headers = (await client.get(path)).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Server"] == "zeroproxy"


# ---------------------------------------------------------------- metrics


async def test_the_families_of_the_contract_are_there(client):
    found = await scrape(client)
    for name in (
        "requests_total", "tokens_total", "inflight", "queued", "endpoint_up", "pool_connections",
        "connects_total", "reused_total", "ring_overflow_total", "fds", "connections",
        "sse_comments_total", "sse_early_heads_total",
        "ttft_seconds_bucket", "inter_token_seconds_bucket", "request_seconds_bucket",
        "queue_seconds_bucket",
    ):  # fmt: skip
        assert f"zeroproxy_{name}" in found


async def test_values_are_those_of_the_snapshot(client):
    found = await scrape(client)
    assert found["zeroproxy_connections"] == {(): 7}
    assert found["zeroproxy_ring_overflow_total"] == {(): 6}
    assert found["zeroproxy_inflight"] == {(("upstream", "a"),): 3}
    assert found["zeroproxy_queued"] == {(("upstream", "a"),): 2}
    assert values(found["zeroproxy_fds"], "kind") == {
        ("downstream",): 7, ("upstream",): 5, ("listener",): 1,
    }  # fmt: skip
    assert values(found["zeroproxy_connects_total"], "endpoint")[("http://h:1",)] == 9
    assert values(found["zeroproxy_reused_total"], "endpoint")[("unix:/x",)] == 30
    pool = values(found["zeroproxy_pool_connections"], "endpoint", "state")
    assert [pool["http://h:1", state] for state in ("idle", "opening", "active")] == [2, 1, 3]


async def test_an_endpoint_is_up_when_it_takes_new_exchanges(client):
    up = values((await scrape(client))["zeroproxy_endpoint_up"], "endpoint")
    assert up == {("http://h:1",): 1, ("unix:/x",): 0, ("http://h:2",): 0}


async def test_rows_with_the_same_labels_are_summed(client):
    requests = values((await scrape(client))["zeroproxy_requests_total"], "status", "outcome")
    assert requests == {("200", "ok"): 6, ("502", "upstream/waiting/reset"): 2}


async def test_tokens_come_by_kind_and_names_are_escaped(client):
    tokens = values((await scrape(client))["zeroproxy_tokens_total"], "model", "kind")
    kinds = ("prompt", "completion", "cached", "reasoning")
    assert [tokens['m"\n\\', kind] for kind in kinds] == [10, 20, 3, 4]
    assert tokens["\ufffd", "prompt"] == 3


async def test_histograms_are_cumulative_and_in_seconds(client):
    found = await scrape(client)
    buckets = values(found["zeroproxy_ttft_seconds_bucket"], "le")
    assert len(buckets) == BUCKETS
    assert buckets[("0.00025",)] == 2
    assert buckets[("+Inf",)] == 3
    assert found["zeroproxy_ttft_seconds_count"] == {(("upstream", "a"),): 3}
    assert found["zeroproxy_ttft_seconds_sum"] == {(("upstream", "a"),): 3.5}


async def test_openmetrics_is_spoken_to_who_asks_for_it(client):
    accept = "application/openmetrics-text; version=1.0.0"
    response = await client.get("/metrics", headers={"Accept": accept})
    assert response.content_type == "application/openmetrics-text"
    names = {family.name for family in parse_openmetrics(await response.text())}
    assert {"zeroproxy_requests", "zeroproxy_ttft_seconds"} <= names


async def test_a_proxy_that_has_seen_nothing_can_be_scraped(client, source):
    source.taken |= {"requests": [], "tokens": [], "upstreams": []}
    assert (await scrape(client))["zeroproxy_connections"] == {(): 7}


# ---------------------------------------------------------------- the listener


async def test_it_listens_on_unix_sockets_and_stops(source, tmp_path):
    path = tmp_path / "admin.sock"
    server = AdminServer(source, bind(f"unix:{path}"))
    await server.start()
    assert server.url == f"unix:{path}"
    assert path.is_socket()
    await server.stop()


async def test_the_port_the_kernel_chose_is_shown(source):
    server = AdminServer(source, bind("127.0.0.1:0"))
    await server.start()
    try:
        assert server.url.startswith("http://127.0.0.1:")
        assert not server.url.endswith(":0")
    finally:
        await server.stop()
