"""A rolling restart behind a real HAProxy: it looks at /readyz, and no request may be refused."""

import http.client
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.haproxy_server import HaproxyServer
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.sim_thread import SimThread
from tests.support.until import wait_until

CALLERS = 4


class Callers:
    """Threads that ask one request after the other, each on a new conn, until they are stopped."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: Counter[object] = Counter()
        self.stops = threading.Event()
        self.threads = [threading.Thread(target=self.ask_on) for _ in range(CALLERS)]

    def ask_on(self) -> None:
        while not self.stops.is_set():
            conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            try:
                conn.request("GET", "/v1/models")
                answer = conn.getresponse()
                answer.read()
                self.answers[answer.status] += 1
            except OSError as error:
                self.answers[type(error)] += 1
            finally:
                conn.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stops.set()
        for thread in self.threads:
            thread.join()


@contextmanager
def balanced(settle: float) -> Iterator[tuple[list[ProxyProcess], HaproxyServer]]:
    """Two proxies behind HAProxy, which asks both for /readyz every 200 ms."""
    server = f"drain_settle = {settle}"
    with (
        SimThread() as sim,
        ProxyProcess(upstream_toml(sim.url), server=server) as one,
        ProxyProcess(upstream_toml(sim.url), server=server) as other,
        HaproxyServer(
            "option httpchk GET /readyz",
            *(f"server s{k} 127.0.0.1:{x.port} check port {x.admin_port} inter 200ms fall 1 rise 1"
              for k, x in enumerate((one, other))),
        ) as haproxy,
    ):  # fmt: skip
        wait_until(lambda: set(haproxy.states().values()) >= {"UP"})
        yield [one, other], haproxy


def rollout(settle: float) -> Counter[object]:
    """Answers, by status, while one proxy after the other is restarted."""
    with balanced(settle) as (proxies, haproxy), Callers(haproxy.port) as callers:
        for k, proxy in enumerate(proxies):
            wait_until(lambda: sum(callers.answers.values()) > 0)
            assert proxy.stop() == 0
            proxy.start()
            wait_until(lambda k=k: haproxy.states()[f"s{k}"] == "UP")
    return callers.answers


def test_a_rolling_restart_refuses_nobody_who_asks_a_balancer():
    answers = rollout(settle=2.0)
    assert set(answers) == {200}


def test_without_settling_callers_are_refused_until_the_balancer_has_looked():
    answers = rollout(settle=0.0)
    assert answers[503] > 0


@pytest.fixture
def settling():
    with (
        SimThread() as sim,
        ProxyProcess(upstream_toml(sim.url), server="drain_settle = 600.0") as proxy,
    ):
        proxy.terminate()
        proxy.until(lambda s: s["phase"] == "settling")
        yield proxy


def answer_of(proxy: ProxyProcess, port: int, path: str) -> http.client.HTTPResponse:
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        conn.request("GET", path)
        answer = conn.getresponse()
        answer.read()
        return answer
    finally:
        conn.close()


def test_a_proxy_that_settles_is_not_ready_but_serves_and_a_second_signal_ends_it(settling):
    unready = answer_of(settling, settling.admin_port, "/readyz")
    assert unready.status == 503
    served = answer_of(settling, settling.port, "/v1/models")
    assert (served.status, served.headers["Connection"]) == (200, "close")
    os.kill(settling.pid, signal.SIGTERM)
    assert settling.process.wait(20) == 0
    log = settling.errors.read_text()
    assert "settling: /readyz is 503" in log
    assert "stopped\n" in log
