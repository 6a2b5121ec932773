"""Reloading a process that works: under load, with a broken file, with a rotated log."""

import asyncio
import http.client
import json
import os
import signal
import threading
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

import zeroproxy
from tests.support.proxy_process import ProxyProcess, upstream_toml, with_ledger
from tests.support.sim_thread import SimThread
from tests.support.until import until
from zeroproxy.config.load import parse_config

RELOADS = 50


def chat(tokens: int = 4) -> bytes:
    body = {"model": "sim-1", "max_tokens": tokens, "stream": True,
            "messages": [{"role": "user", "content": "x"}]}  # fmt: skip
    return json.dumps(body).encode()


def stream_over(conn: http.client.HTTPConnection, tokens: int = 4) -> None:
    conn.request("POST", "/v1/chat/completions", chat(tokens))
    response = conn.getresponse()
    answer = response.read()
    assert response.status == 200
    assert answer.endswith(b"data: [DONE]\n\n")


def replace_upstream(proxy: ProxyProcess, text: str) -> None:
    head = proxy.path.read_text().partition("[[upstream]]")[0].partition("[limits]")[0]
    proxy.path.write_text(head + with_ledger(text, proxy.ledger))


def post_reload(proxy: ProxyProcess) -> dict[str, Any]:
    request = urllib.request.Request(f"{proxy.admin_url}/-/reload", method="POST")
    with urllib.request.urlopen(request, timeout=20) as response:
        return dict(json.loads(response.read()))


def refused_reload(proxy: ProxyProcess) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as found:
        post_reload(proxy)
    with found.value as answer:
        return answer.code, str(json.loads(answer.read())["error"]["message"])


def hang_up(proxy: ProxyProcess) -> dict[str, Any]:
    """SIGHUP, and wait until it has been dealt with; returns `reloads` of /status."""
    before = proxy.status()["reloads"]
    os.kill(proxy.pid, signal.SIGHUP)
    done = before["ok"] + before["failed"] + 1
    after = proxy.until(lambda s: s["reloads"]["ok"] + s["reloads"]["failed"] == done)
    return dict(after["reloads"])


def gauge(proxy: ProxyProcess, name: str) -> dict[str, float]:
    families = text_string_to_metric_families(proxy.fetch("/metrics").decode())
    return {
        sample.labels.get("result", ""): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


class Load:
    """Callers in threads, one request after the other on kept-alive connections, until left."""

    def __init__(self, port: int, callers: int) -> None:
        self._served = [0] * callers
        self.failures: list[BaseException] = []
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(k,)) for k in range(callers)]

    def _call(self, number: int) -> None:
        conn = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._stop.is_set():
            try:
                stream_over(conn, tokens=2 + number * 8)
            except Exception as error:
                self.failures.append(error)
                return
            self._served[number] += 1
        conn.close()

    @property
    def served(self) -> int:
        return sum(self._served)

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


# ---------------------------------------------------------------- under load


def variant(urls: list[str], k: int) -> str:
    """The k-th of configurations that differ in endpoints, weights, limits, pools and patience."""
    chosen = [urls[0]] if k % 3 == 0 else [urls[1], urls[0]] if k % 3 == 1 else [urls[2], urls[1]]
    weighed = [f'{{ url = "{url}", weight = {1 + (k + n) % 4} }}' for n, url in enumerate(chosen)]
    return f"""[limits]
body_bytes = {10_000 + k}
header_count = {20 + k}
header_timeout = {10 + k}.0
[[upstream]]
name = "test"
endpoints = [{", ".join(weighed)}]
balance = "{("least_inflight", "round_robin")[k % 2]}"
admission = {{ max_inflight = {(0, 2, 50)[k % 3]}, queue = 100 }}
pool = {{ max_idle = {1 + k % 5} }}
timeouts = {{ first_byte = {100 + k}.0, total = {(0, 500)[k % 2]} }}
"""


def test_50_reloads_under_load_lose_no_request():
    with SimThread() as a, SimThread() as b, SimThread() as c:
        urls = [a.url, b.url, c.url]
        with ProxyProcess(variant(urls, 0)) as proxy:
            with Load(proxy.port, callers=8) as load:
                for k in range(1, RELOADS + 1):
                    replace_upstream(proxy, variant(urls, k))
                    served = load.served
                    if k % 2:
                        hang_up(proxy)
                    else:
                        changed = post_reload(proxy)["changed"]
                        assert {"limits.body_bytes", "upstream[0].endpoints"} <= set(changed)
                    # Each configuration carries traffic before the next one comes.
                    proxy.until(lambda _, n=served: load.served >= n + 8 or load.failures)
            assert load.failures == []
            status = proxy.until_quiet()
        assert status["reloads"] == {"ok": RELOADS, "failed": 0, "last": "ok"}
        (upstream,) = status["upstreams"]
        assert [e["url"] for e in upstream["endpoints"]] and status["leaving"] == []
        assert {e["url"]: e["weight"] for e in upstream["endpoints"]} == {c.url: 3, b.url: 4}
        assert upstream["max_inflight"] == 50
        outcomes = Counter()
        for row in status["requests"]:
            outcomes[row["status"], row["outcome"]] += row["count"]
        assert outcomes == {(200, "ok"): load.served}
        assert {row["endpoint"] for row in status["requests"]} == set(urls)


def test_a_long_response_outlives_its_endpoint():
    with SimThread() as a, SimThread() as b, ProxyProcess(upstream_toml(a.url)) as proxy:
        conn = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
        conn.request("POST", "/v1/chat/completions", chat(400))
        response = conn.getresponse()
        first = response.read1()
        replace_upstream(proxy, upstream_toml(b.url, timeouts="{ total = 0.1 }"))
        assert post_reload(proxy)["changed"] == [
            "upstream[0].endpoints", "upstream[0].timeouts.total"
        ]  # fmt: skip
        assert proxy.status()["leaving"] == [{"url": a.url, "inflight": 1}]
        assert (first + response.read()).endswith(b"data: [DONE]\n\n")
        conn.close()
        proxy.until_quiet()
        assert proxy.status()["leaving"] == []


# ---------------------------------------------------------------- what is refused


def test_a_broken_file_keeps_the_old_configuration_in_force(sim):
    good = upstream_toml(sim.url)
    with ProxyProcess(good) as proxy, Load(proxy.port, callers=2) as load:
        assert gauge(proxy, "zeroproxy_config_last_reload_success") == {"": 1}
        replace_upstream(proxy, good + "balanse = 1\n")
        assert hang_up(proxy) == {"ok": 0, "failed": 1, "last": "failed"}
        code, message = refused_reload(proxy)
        line = proxy.path.read_text().splitlines().index("balanse = 1") + 1
        assert code == 400
        assert message == (
            f'{proxy.path}:{line}: upstream[0].balanse: unknown key; did you mean "balance"?'
        )
        assert gauge(proxy, "zeroproxy_config_last_reload_success") == {"": 0}
        assert gauge(proxy, "zeroproxy_reloads_total") == {"ok": 0, "failed": 2}
        said = proxy.errors.read_text().splitlines()
        assert [line.partition("Z ")[2] for line in said[1:]] == [
            f"ERROR not reloaded: {message}"
        ] * 2
        served = load.served
        proxy.until(lambda _: load.served > served or load.failures)
        proxy.path.unlink()
        assert refused_reload(proxy)[0] == 400
        proxy.path.write_text("")
        assert refused_reload(proxy)[0] == 400
        assert load.failures == []


def in_force(proxy: ProxyProcess) -> list[tuple]:
    return [
        (u["name"], u["max_inflight"], [(e["url"], e["weight"]) for e in u["endpoints"]])
        for u in proxy.status()["upstreams"]
    ]


def test_a_change_that_needs_a_restart_is_named_and_nothing_is_applied(sim):
    with ProxyProcess(upstream_toml(sim.url)) as proxy:
        text = proxy.path.read_text()
        before = in_force(proxy)
        for old, new, key in (
            (f"127.0.0.1:{proxy.port}", "127.0.0.1:1", "server.listen"),
            (f"127.0.0.1:{proxy.admin_port}", "127.0.0.1:1", "admin.listen"),
            ('name = "test"', 'name = "other"', "upstream[0].name"),
        ):
            changed = text.replace(old, new).replace("[[upstream]]", "[limits]\nbody_bytes = 1\n"
                                                     "[[upstream]]")  # fmt: skip
            proxy.path.write_text(changed)
            assert refused_reload(proxy) == (
                422, f"{key}: cannot change while the proxy runs; a restart is needed"
            )  # fmt: skip
        assert in_force(proxy) == before
        conn = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
        stream_over(conn)
        conn.close()


def test_what_cannot_be_prepared_is_refused_as_a_whole(sim, tmp_path):
    good = upstream_toml(sim.url)
    log = f'[log]\naccess = "jsonl:{tmp_path}/none/x.jsonl"\n'
    with ProxyProcess(good) as proxy:
        for text, expected, reason in (
            (upstream_toml("http://no.invalid:1", dns_ttl="0.0"), 422, "cannot resolve no.invalid"),
            (upstream_toml(proxy.url), 400, f"{proxy.url} is this proxy's own listener"),
            (upstream_toml("http://127.0.0.1:1") + log, 422, "log.access: cannot write"),
        ):
            replace_upstream(proxy, "[limits]\nbody_bytes = 1\n" + text)
            code, message = refused_reload(proxy)
            assert code == expected
            assert reason in message
        assert [e["url"] for e in proxy.status()["upstreams"][0]["endpoints"]] == [sim.url]
        conn = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
        stream_over(conn)
        conn.close()


def test_a_name_that_is_not_known_yet_takes_nobody_else_along(sim):
    text = upstream_toml("http://no.invalid:1", sim.url)
    with ProxyProcess(text) as proxy:
        assert proxy.status()["unresolved"] == ["http://no.invalid:1"]
        conn = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
        stream_over(conn)
        replace_upstream(proxy, upstream_toml("http://none.invalid:1", sim.url))
        assert post_reload(proxy)["changed"] == ["upstream[0].endpoints"]
        assert proxy.status()["unresolved"] == ["http://none.invalid:1"]
        stream_over(conn)
        conn.close()


def test_a_browser_may_not_reload(proxy):
    request = urllib.request.Request(
        f"{proxy.admin_url}/-/reload", method="POST", headers={"Origin": "http://evil"}
    )
    with pytest.raises(urllib.error.HTTPError) as found:
        urllib.request.urlopen(request)
    found.value.close()
    assert found.value.code == 403
    assert proxy.status()["reloads"]["ok"] == 0


def test_a_drain_is_not_reloaded(sim):
    with ProxyProcess(upstream_toml(sim.url)) as proxy:
        conn = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
        conn.request("POST", "/v1/chat/completions", chat(100_000))
        response = conn.getresponse()
        proxy.terminate()
        proxy.until(lambda s: s["phase"] == "draining")
        assert refused_reload(proxy) == (422, "the proxy is draining")
        os.kill(proxy.pid, signal.SIGHUP)
        proxy.until(lambda s: s["reloads"]["failed"] == 2)
        os.kill(proxy.pid, signal.SIGINT)
        with pytest.raises(http.client.IncompleteRead):
            response.read()
        conn.close()
        assert proxy.stop() == 0


def test_a_burst_of_hang_ups_is_survived(proxy):
    replace_upstream(proxy, "[limits]\nbody_bytes = 5\n" + upstream_toml("http://127.0.0.1:1"))
    for _ in range(200):
        os.kill(proxy.pid, signal.SIGHUP)
    proxy.until(lambda s: s["upstreams"][0]["endpoints"][0]["url"] == "http://127.0.0.1:1")
    assert proxy.status()["reloads"]["failed"] == 0
    with pytest.raises(urllib.error.HTTPError) as found:
        proxy.until(lambda _: not proxy.fetch("/readyz"))
    found.value.close()
    assert found.value.code == 503


# ---------------------------------------------------------------- the access log


def request_ids(*paths: Path) -> list[str]:
    return [json.loads(line)["request_id"] for p in paths for line in p.read_text().splitlines()]


def test_log_rotation_loses_no_line(sim, tmp_path):
    log = tmp_path / "access.jsonl"
    text = upstream_toml(sim.url) + f'[log]\naccess = "jsonl:{log}"\n'
    rotated = []
    with ProxyProcess(text) as proxy:
        with Load(proxy.port, callers=4) as load:
            for k in range(10):
                served = load.served
                proxy.until(lambda _, n=served: load.served >= n + 8 or load.failures)
                rotated.append(log.rename(tmp_path / f"access.{k}"))
                assert hang_up(proxy)["last"] == "ok"
                assert log.exists()
        assert load.failures == []
        proxy.until_quiet()
    ids = request_ids(*rotated, log)
    assert len(ids) == len(set(ids)) == load.served


def test_the_log_can_be_switched_on_and_off(sim, tmp_path):
    log = tmp_path / "access.jsonl"
    with ProxyProcess(upstream_toml(sim.url)) as proxy:
        conn = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
        replace_upstream(proxy, upstream_toml(sim.url) + f'[log]\naccess = "jsonl:{log}"\n')
        assert post_reload(proxy)["changed"] == ["log.access"]
        stream_over(conn)
        proxy.until(lambda _: len(log.read_text().splitlines()) == 1)
        replace_upstream(proxy, upstream_toml(sim.url))
        assert post_reload(proxy)["changed"] == ["log.access"]
        stream_over(conn)
        conn.close()
    assert len(log.read_text().splitlines()) == 1


# ---------------------------------------------------------------- embedded


def embedded_config(*urls: str, admin: str = '"127.0.0.1:0"') -> zeroproxy.Config:
    return parse_config(
        f'[server]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = {admin}\n' + upstream_toml(*urls)
    )


async def test_an_embedded_proxy_reloads_what_its_program_gives_it():
    with SimThread() as a, SimThread() as b:
        async with (
            zeroproxy.Proxy(embedded_config(a.url)) as proxy,
            aiohttp.ClientSession() as session,
        ):
            await until(lambda: proxy.ready()[0])
            assert await proxy.reload(embedded_config(b.url)) == ["upstream[0].endpoints"]
            async with session.post(
                f"{proxy.listen[0]}/v1/chat/completions", data=chat()
            ) as answer:
                await answer.read()
            assert (a.stats.begun, b.stats.begun) == (0, 1)
            with pytest.raises(zeroproxy.ReloadError, match=r"^admin\.listen: cannot change"):
                await proxy.reload(embedded_config(a.url, admin='""'))
            async with session.post(f"{proxy.admin_url}/-/reload") as answer:
                assert answer.status == 422
                assert "embeds" in (await answer.json())["error"]["message"]
            reloads = proxy.snapshot()["reloads"]
            assert reloads == {"ok": 1, "failed": 2, "last": "failed"}
            together = await asyncio.gather(
                *(proxy.reload(embedded_config(u)) for u in (a.url, b.url) * 10)
            )
            assert len(together) == 20
            assert [e["url"] for e in proxy.snapshot()["upstreams"][0]["endpoints"]] == [b.url]
        with pytest.raises(zeroproxy.ReloadError, match="the proxy is stopped"):
            await proxy.reload(embedded_config(a.url))
