"""The admin application over a snapshot of its own."""

import aiohttp
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from zeroproxy.admin.app import create_app

N = 24
HISTOGRAM = {"counts": [1, 2] + [0] * (N - 3) + [4], "sum_ns": 5_000_000_000, "n": 7}


class Source:
    def __init__(self):
        self.reasons = []
        self.drained = 0

    def ready(self):
        return not self.reasons, self.reasons

    def drain(self):
        self.drained += 1

    def drain_endpoint(self, url, drain):
        return {"url": url, "draining": drain, "inflight": 2} if url == "http://h:1" else None

    def snapshot(self):
        endpoint = {
            "index": 0, "url": 'http://h:1/"x"', "up": True, "draining": False, "weight": 1,
            "inflight": 2, "limit": 8, "idle": 3, "opening": 1, "connects": 9,
            "connect_failures": 1, "reused": 5, "stale": 2, "failures": 0, "busy": 4,
            "breaker": {"state": "half_open", "to": {"closed": 1, "half_open": 2, "open": 3}},
            "stale_retries": 1, "retries_withheld": 2, "unframed": 0,
            "pool": {"idle_limit_s": 1.8, "warmed": 4, "closed": {"endpoint": 2, "idle": 3}},
        }  # fmt: skip
        names = ("ttft", "request", "queue_wait", "gap", "overhead")
        return {
            "version": "1.2.3", "phase": "serving",
            "connections": {"downstream": 4, "idle": 3, "accepted": 11, "refused": 1,
                            "starved": 0, "limit": 100},
            "fds": {"downstream": 4, "upstream": 5, "listener": 1},
            "upstreams": [{"name": "u", "inflight": 2, "queued": 1, "max_inflight": 8,
                           "waiting": 1, "waited": 5,
                           "holding": {"now": 2, "total": 7, "oldest_s": 1.5, "down_s": 2.0},
                           "caller_retries": 4, "too_late": 6,
                           "displaced": 3, "hedges": 2, "hedges_won": 1,
                           "histograms": dict.fromkeys(names, HISTOGRAM),
                           "endpoints": [endpoint]}],
            "requests": [{"upstream": "u", "endpoint": "e", "status": 200, "outcome": "ok",
                          "count": 7}],
            "tokens": [{"upstream": "u", "model": "m\n", "tenant": "", "prompt": 3,
                        "completion": 4, "cached": 1, "reasoning": 0}],
            "ring": {"records": 0, "overflow": 2},
            "keepalive": {"comments": 8, "early_heads": 3},
            "reloads": {"ok": 3, "failed": 1, "last": "ok"},
            "bounds_ns": [10**6 * 2**k for k in range(N - 1)],
        }  # fmt: skip


async def client_over(source):
    client = TestClient(TestServer(create_app(source)))
    await client.start_server()
    return client


async def test_metrics_say_what_the_snapshot_says():
    client = await client_over(Source())
    async with client.get("/metrics") as response:
        assert response.headers["Cache-Control"] == "no-store"
        text = await response.text()
    families = {f.name: f for f in text_string_to_metric_families(text)}
    tokens = {s.labels["kind"]: s.value for s in families["zeroproxy_tokens"].samples}
    assert tokens == {"prompt": 3, "completion": 4, "cached": 1, "reasoning": 0}
    assert families["zeroproxy_tokens"].samples[0].labels["model"] == "m\n"
    buckets = [s for s in families["zeroproxy_ttft_seconds"].samples if s.name.endswith("bucket")]
    assert [b.value for b in buckets[:3]] == [1, 3, 3]
    assert buckets[-1].labels["le"] == "+Inf"
    assert buckets[-1].value == 7
    (total,) = [s for s in families["zeroproxy_ttft_seconds"].samples if s.name.endswith("_sum")]
    assert total.value == 5.0
    pool = {s.labels["state"]: s.value for s in families["zeroproxy_pool_connections"].samples}
    assert pool == {"idle": 3, "opening": 1, "active": 2}
    assert families["zeroproxy_ring_overflow"].samples[0].value == 2
    assert families["zeroproxy_sse_comments"].samples[0].value == 8
    assert families["zeroproxy_sse_early_heads"].samples[0].value == 3
    assert {s.labels["kind"] for s in families["zeroproxy_fds"].samples} == {
        "downstream", "upstream", "listener",
    }  # fmt: skip
    await client.close()


async def test_metrics_tell_how_far_the_sinks_are():
    class Metered(Source):
        def snapshot(self):
            sink = {"name": "pg", "lag_seconds": 1.5, "waiting": 7, "failures": 2}
            return super().snapshot() | {"metering": {
                "ledger": {"path": "x", "rows": 9, "bytes": 4096, "ok": False, "refused": 3,
                           "replaced": 1, "damaged": 2},
                "flusher": {"failures": {"ledger": 1, "access_log": 0}, "stalled_seconds": 7.5},
                "access_log": {"dropped": 12}, "sinks": [sink],
            }, "log": {"dropped": 5}}  # fmt: skip

    client = await client_over(Metered())
    async with client.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    for line in (
        'zeroproxy_sink_lag_seconds{sink="pg"} 1.5', 'zeroproxy_sink_waiting{sink="pg"} 7.0',
        'zeroproxy_sink_failures_total{sink="pg"} 2.0',
        'zeroproxy_sink_failures_total{sink="ledger"} 1.0', "zeroproxy_ledger_bytes 4096.0",
        "zeroproxy_ledger_ok 0.0", "zeroproxy_ledger_refused_records 3.0",
        "zeroproxy_ledger_replaced_total 1.0", "zeroproxy_ledger_damaged_total 2.0",
        "zeroproxy_flusher_stalled_seconds 7.5", "zeroproxy_access_log_dropped_total 12.0",
        "zeroproxy_log_lines_dropped_total 5.0",
    ):  # fmt: skip
        assert line in lines
    await client.close()


async def test_the_names_are_the_contract():
    client = await client_over(Source())
    async with client.get("/metrics") as response:
        text = await response.text()
    for name in (
        "zeroproxy_requests_total", "zeroproxy_tokens_total", "zeroproxy_ttft_seconds",
        "zeroproxy_inter_token_seconds", "zeroproxy_request_seconds", "zeroproxy_queue_seconds",
        "zeroproxy_inflight", "zeroproxy_queued", "zeroproxy_endpoint_up",
        "zeroproxy_pool_connections", "zeroproxy_connects_total", "zeroproxy_reused_total",
        "zeroproxy_ring_overflow_total", "zeroproxy_fds",
    ):  # fmt: skip
        assert f"\n{name}{{" in text or f"\n{name}_bucket{{" in text or f"\n{name} " in text, name
    await client.close()


async def test_readyz_follows_its_source_and_healthz_does_not():
    source = Source()
    client = await client_over(source)
    async with client.get("/readyz") as response:
        assert response.status == 200
    source.reasons = ["no endpoint"]
    async with client.get("/readyz") as response:
        assert response.status == 503
        assert await response.json() == {"ready": False, "reasons": ["no endpoint"]}
    async with client.get("/healthz") as response:
        assert response.status == 200
    await client.close()


async def test_drain_is_a_post():
    source = Source()
    client = await client_over(source)
    async with client.get("/-/drain") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"
    async with client.post("/-/drain") as response:
        assert response.status == 202
    assert source.drained == 1
    await client.close()


async def test_one_endpoint_is_drained_by_its_url():
    client = await client_over(Source())
    for query, status, body in (
        ("url=http://h:1&drain=true", 200,
         {"url": "http://h:1", "draining": True, "inflight": 2}),
        ("url=http://h:1&drain=false", 200,
         {"url": "http://h:1", "draining": False, "inflight": 2}),
        ("url=http://h:2&drain=true", 404,
         {"error": {"message": "there is no such endpoint", "code": 404}}),
    ):  # fmt: skip
        async with client.post(f"/-/endpoint?{query}") as response:
            assert response.status == status
            assert await response.json() == body
    for query in ("", "url=x", "drain=true", "url=x&drain=yes", "url=x&drain=true&a=b",
                  "url=http://h:1&drain=true&drain=false"):  # fmt: skip
        async with client.post(f"/-/endpoint?{query}") as response:
            assert response.status == 400, query
    async with client.get("/-/endpoint?url=http://h:1&drain=true") as response:
        assert response.status == 405
    await client.close()


async def test_breakers_are_shown():
    client = await client_over(Source())
    async with client.get("/metrics") as response:
        families = {f.name: f for f in text_string_to_metric_families(await response.text())}
    assert [s.value for s in families["zeroproxy_breaker_state"].samples] == [1]
    moves = families["zeroproxy_breaker_transitions"].samples
    assert {s.labels["to"]: s.value for s in moves} == {"closed": 1, "half_open": 2, "open": 3}
    assert [s.value for s in families["zeroproxy_endpoint_draining"].samples] == [0]
    await client.close()


async def test_openmetrics_is_spoken_to_who_asks_for_it():
    client = await client_over(Source())
    asked = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with client.get("/metrics", headers=asked) as response:
        assert response.content_type == "application/openmetrics-text"
        assert (await response.text()).endswith("# EOF\n")
    await client.close()
    assert isinstance(client.session, aiohttp.ClientSession)
