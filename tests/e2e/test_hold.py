"""An engine that is killed and started again under callers that do not try again: all are held and
served, and without hold all fail."""

import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.outages import endpoint, see_sim
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.stoppable_sim import StoppableSim

CALLERS = 50
QUICK = "{ interval = 0.2, timeout = 0.5, unhealthy_after = 2, healthy_after = 1 }"


def through_an_outage(proxy, sim, until_waiting, spread):
    """Ends that so many callers see who come while the engine is down, from its death on."""
    assert see_sim(proxy) == "done"
    sim.stop(signal.SIGKILL)
    with ThreadPoolExecutor(CALLERS) as pool:
        found = []
        for _ in range(CALLERS):
            found.append(pool.submit(see_sim, proxy))
            time.sleep(spread)
        until_waiting(proxy)
        sim.start()
        return Counter(each.result(60) for each in found)


def all_wait(proxy):
    status = proxy.until(lambda s: s["upstreams"][0]["holding"]["now"] == CALLERS, 30)
    assert status["upstreams"][0]["holding"]["oldest_s"] > 0


def all_have_ended(proxy):
    proxy.until(lambda s: sum(r["count"] for r in s["requests"] if r["status"] >= 500) == CALLERS)


@pytest.mark.parametrize("health", [QUICK, '{ path = "" }'], ids=["probed", "without probes"])
def test_callers_of_a_killed_engine_are_held_and_served(health):
    admission = "{ hold_when_down = 60.0 }"
    with StoppableSim() as sim:
        text = upstream_toml(
            sim.url, health=health, admission=admission, breaker="{ slow_start = 1.0 }"
        )
        with ProxyProcess(text) as proxy:
            assert through_an_outage(proxy, sim, all_wait, 0.02) == {"done": CALLERS}
            status = proxy.until_quiet()
            (upstream,) = status["upstreams"]
            assert (upstream["holding"]["now"], upstream["holding"]["total"]) == (0, CALLERS)
            assert endpoint(status, sim)["inflight"] == 0


def test_without_hold_all_of_them_fail():
    with StoppableSim() as sim, ProxyProcess(upstream_toml(sim.url, health=QUICK)) as proxy:
        found = through_an_outage(proxy, sim, all_have_ended, 0.02)
        assert set(found) <= {"502", "503"}
        assert found.total() == CALLERS


def test_a_proxy_that_is_up_before_its_engine_holds_the_first_callers():
    with StoppableSim() as sim:
        sim.stop(signal.SIGKILL)
        text = upstream_toml(sim.url, health=QUICK, admission="{ hold_when_down = 60.0 }")
        with ProxyProcess(text, wait_ready=False) as proxy, ThreadPoolExecutor(1) as pool:
            caller = pool.submit(see_sim, proxy)
            proxy.until(lambda s: s["upstreams"][0]["holding"]["now"] == 1)
            sim.start()
            assert caller.result(60) == "done"


def test_a_stop_ends_the_wait():
    with StoppableSim() as sim:
        text = upstream_toml(sim.url, health=QUICK, admission="{ hold_when_down = 60.0 }")
        with ProxyProcess(text) as proxy, ThreadPoolExecutor(1) as pool:
            sim.stop(signal.SIGKILL)
            caller = pool.submit(see_sim, proxy)
            proxy.until(lambda s: s["upstreams"][0]["holding"]["now"] == 1)
            proxy.terminate()
            assert caller.result(30) == "503"
