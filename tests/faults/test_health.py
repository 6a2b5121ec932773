"""Endpoints that stop, die, hang and come back, as real processes."""

import http.client
import json
import signal
import urllib.error
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.leaving_server import LeavingServer
from tests.support.outages import (
    chat,
    endpoint,
    lines,
    outcomes_of,
    post,
    see,
    see_sim,
    until_in_flight,
    until_up,
)
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.stoppable_sim import StoppableSim

INTERVAL = 1.0
HEALTH = f"{{ interval = {INTERVAL}, timeout = 0.4, wedge_after = 0 }}"
#: So slow that a share stays a thirty-second part for as long as a test lasts.
BREAKER = "{ slow_start = 86400.0, open_for = 0.5 }"


@pytest.fixture
def sims():
    with StoppableSim() as one, StoppableSim() as other:
        yield one, other


def two(sims: tuple[StoppableSim, StoppableSim], **more: str) -> ProxyProcess:
    words = {"health": HEALTH, "breaker": BREAKER, "balance": '"round_robin"', **more}
    return ProxyProcess(upstream_toml(*(sim.url for sim in sims), **words))


# ---------------------------------------------------------------- stopped


def test_a_stopped_server_is_out_within_three_intervals_and_comes_back(sims):
    stopped, other = sims
    with two(sims) as proxy:
        proxy.until(lambda s: endpoint(s, stopped)["health"]["asked"] > 0)
        stopped.send(signal.SIGSTOP)
        found = until_up(proxy, stopped, False)
        assert 0 < found["health"]["out_after_s"] <= 3 * INTERVAL
        assert found["health"]["reason"] == "no answer within 0.4 s"
        before = outcomes_of(proxy, other)["ok"]
        assert [see_sim(proxy) for _ in range(20)] == ["done"] * 20
        assert outcomes_of(proxy, other)["ok"] == before + 20
        stopped.send(signal.SIGCONT)
        found = until_up(proxy, stopped, True)
        assert found["health"]["changes"] == 2
        assert [see_sim(proxy) for _ in range(64)] == ["done"] * 64
        assert 1 <= outcomes_of(proxy, stopped)["ok"] <= 4, "it begins with a small share"
        assert [line.partition(f"{stopped.url} ")[2] for line in lines(proxy, stopped)] == [
            "is out: no answer within 0.4 s", "is back in rotation",
        ]  # fmt: skip


# ---------------------------------------------------------------- killed


def test_a_killed_server_costs_only_what_ran_on_it_and_nobody_after(sims):
    killed, other = sims
    with two(sims) as proxy, ThreadPoolExecutor(16) as pool:
        begun = Semaphore(0)
        asked = [pool.submit(see_sim, proxy, 600, "", begun) for _ in range(16)]
        for _ in asked:
            assert begun.acquire(timeout=60)
        assert endpoint(proxy.status(), killed)["inflight"] == 8
        killed.stop(signal.SIGKILL)
        assert Counter(a.result() for a in asked) == {"cut": 8, "done": 8}
        ends = outcomes_of(proxy, killed)
        assert ends["upstream/relaying/reset"] + ends["upstream/relaying/closed"] == 8
        assert outcomes_of(proxy, other) == {"ok": 8}
        proxy.until(lambda s: endpoint(s, killed)["breaker"]["state"] == "open")
        found = until_up(proxy, killed, False)
        assert found["breaker"]["to"]["open"] >= 1
        assert set(pool.map(lambda _: see_sim(proxy), range(64))) == {"done"}
        killed.start()
        until_up(proxy, killed, True)
        before = outcomes_of(proxy, killed)["ok"]
        assert [see_sim(proxy) for _ in range(64)] == ["done"] * 64
        found = endpoint(proxy.until(lambda s: True), killed)
        assert found["breaker"]["state"] == "closed"
        assert 1 <= outcomes_of(proxy, killed)["ok"] - before <= 5, "it begins with a small share"
        said = " ".join(lines(proxy, killed))
        for word in ("breaker open", "is out: Connection refused", "is back in rotation",
                     "breaker closed"):  # fmt: skip
            assert word in said, said


# ---------------------------------------------------------------- wedged


def test_a_server_that_hangs_but_says_it_is_well_is_out_until_it_answers(sims):
    wedged, other = sims
    health = "{ interval = 0.3, timeout = 0.25, wedge_after = 1.0 }"
    with two(sims, preset='"vllm"', health=health) as proxy, ThreadPoolExecutor(2) as pool:
        pool.submit(see_sim, proxy, 50, "stall=5")
        until_in_flight(proxy, wedged, 1)
        found = until_up(proxy, wedged, False)
        assert found["health"]["wedged"]
        assert found["health"]["reason"].startswith("wedged: ")
        assert found["inflight"] == 1, "nothing is cut"
        assert [see_sim(proxy) for _ in range(8)] == ["done"] * 8
        assert outcomes_of(proxy, other)["ok"] == 8
        gauge = samples(proxy, "zeroproxy_endpoint_wedged")
        assert gauge == {wedged.url: 1, other.url: 0}
        assert not until_up(proxy, wedged, True)["health"]["wedged"], "it answered a token of ours"
        wedged.stop(signal.SIGKILL)


def samples(proxy: ProxyProcess, name: str) -> dict[str, float]:
    families = text_string_to_metric_families(proxy.fetch("/metrics").decode())
    return {s.labels["endpoint"]: s.value for f in families for s in f.samples if s.name == name}


# ---------------------------------------------------------------- gone

#: A caller left to wait would give up after `first_byte` and `stream_idle`: 600 and 120 s.
SOON = "{ interval = 0.2, timeout = 0.15, wedge_after = 1.0 }"


def test_a_server_that_refuses_connections_and_is_silent_leaves_no_caller_hanging():
    with (
        LeavingServer() as server,
        ThreadPoolExecutor(4) as pool,
        ProxyProcess(upstream_toml(server.url, health=SOON, surface='{ paths = "all" }')) as proxy,
    ):
        begun = Semaphore(0)
        streams = [pool.submit(see_sim, proxy, 50, "", begun) for _ in range(3)]
        for _ in streams:
            assert begun.acquire(timeout=20)
        waiting = pool.submit(see, proxy, chat(2), {}, None, "/v1/other")
        until_in_flight(proxy, server, 4)
        server.leave()
        assert [s.result(timeout=40) for s in streams] == ["cut"] * 3
        assert waiting.result(timeout=40) == "504"
        assert outcomes_of(proxy, server) == {"upstream/relaying/timeout": 3,
                                           "upstream/waiting/timeout": 1}  # fmt: skip
        assert endpoint(proxy.status(), server)["health"]["ended"] == 4
        ended = f"{server.url}: 4 exchanges ended: Connection refused, and no byte for 1 s"
        assert any(line.endswith(ended) for line in lines(proxy, server))


def test_a_mute_server_leaves_no_caller_hanging_and_comes_back(sims):
    mute, _ = sims
    text = upstream_toml(mute.url, health=SOON)
    with ProxyProcess(text) as proxy, ThreadPoolExecutor(2) as pool:
        begun = Semaphore(0)
        stream = pool.submit(see_sim, proxy, 4000, "", begun)
        assert begun.acquire(timeout=20)
        waiting = pool.submit(see_sim, proxy, 2, "slow-head=60")
        until_in_flight(proxy, mute, 2)
        # It still accepts connections, which is the kernel's work.
        mute.send(signal.SIGSTOP)
        assert sorted([stream.result(timeout=40), waiting.result(timeout=40)]) == ["504", "cut"]
        assert not endpoint(proxy.status(), mute)["up"]
        mute.send(signal.SIGCONT)
        until_up(proxy, mute, True)
        assert see_sim(proxy) == "done"


# ---------------------------------------------------------------- the callers' fault


def test_the_requests_of_one_do_not_take_the_only_endpoint_from_the_others(sims):
    sim, _ = sims
    with ProxyProcess(upstream_toml(sim.url)) as proxy:
        proxy.until(lambda s: endpoint(s, sim)["health"]["asked"] > 0)
        for code in (500, 501, 500, 502, 500, 500, 500, 500, 501, 500):
            assert see_sim(proxy, fault=f"status={code}") == str(code)
            assert see_sim(proxy) == "done"
        for _ in range(20):
            assert see_sim(proxy, fault="status=500") == "500"
        assert see_sim(proxy) == "done"
        assert proxy.fetch("/readyz")
        assert endpoint(proxy.status(), sim)["breaker"]["to"]["open"] == 0


# ---------------------------------------------------------------- none is left


def test_a_probe_that_is_answered_badly_leaves_nobody_and_callers_are_told(sims):
    sim, _ = sims
    health = '{ path = "/no-such-page", interval = 0.2, timeout = 0.2 }'
    text = upstream_toml(sim.url, preset='"openai"', health=health)
    with ProxyProcess(text, wait_ready=False) as proxy:
        assert until_up(proxy, sim, False)["health"]["reason"] == "GET /no-such-page returned 404"
        with pytest.raises(urllib.error.HTTPError) as found:
            proxy.fetch("/readyz")
        with found.value as answer:
            assert answer.code == 503
            assert (
                f"{sim.url}: GET /no-such-page returned 404" in json.loads(answer.read())["reasons"]
            )
        conn = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
        conn.request("POST", "/v1/chat/completions", chat(2))
        response = conn.getresponse()
        response.read()
        assert (response.status, response.getheader("Retry-After")) == (503, "1")
        conn.close()
        proxy.path.write_text(proxy.path.read_text().replace("/no-such-page", "/v1/models"))
        assert post(proxy, "/-/reload")["changed"] == ["upstream[0].health.path"]
        until_up(proxy, sim, True)
        assert see_sim(proxy) == "done"


# ---------------------------------------------------------------- drained


def test_a_drained_endpoint_finishes_what_runs_and_stays_drained(sims):
    drained, other = sims
    with two(sims) as proxy, ThreadPoolExecutor(2) as pool:
        where = f"/-/endpoint?url={drained.url}&drain="
        running = [pool.submit(see_sim, proxy, 400) for _ in range(2)]
        until_in_flight(proxy, drained, 1)
        assert post(proxy, where + "true") == {"url": drained.url, "draining": True, "inflight": 1}
        assert [see_sim(proxy) for _ in range(8)] == ["done"] * 8
        assert [r.result() for r in running] == ["done"] * 2
        assert outcomes_of(proxy, drained) == {"ok": 1}
        drained.send(signal.SIGSTOP)
        until_up(proxy, drained, False)
        drained.send(signal.SIGCONT)
        assert until_up(proxy, drained, True)["draining"], "health does not touch it"
        proxy.path.write_text(proxy.path.read_text().replace("round_robin", "least_inflight"))
        post(proxy, "/-/reload")
        assert endpoint(proxy.status(), drained)["draining"], "nor does a reload"
        assert samples(proxy, "zeroproxy_endpoint_draining") == {drained.url: 1, other.url: 0}
        assert post(proxy, where + "false")["inflight"] == 0
        assert [see_sim(proxy) for _ in range(64)] == ["done"] * 64
        assert outcomes_of(proxy, drained)["ok"] > 1
        with pytest.raises(urllib.error.HTTPError) as found:
            post(proxy, "/-/endpoint?url=http://127.0.0.1:1&drain=true")
        with found.value as answer:
            assert answer.code == 404
