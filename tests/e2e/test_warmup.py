"""A proxy that warms its endpoints up before callers come, over simulators that begin cold."""

import asyncio
from typing import Any

import aiohttp

import zeroproxy
from tests.support.until import until
from zeroproxy.config.load import parse_config
from zeroproxy.sim import SimOptions, Simulator

FAST: dict[str, Any] = {"tokens_per_second": 500.0, "ttft": 0.001}
COLD = 1.0
CHAT = "/v1/chat/completions"


def config(*urls: str, path: str = CHAT) -> zeroproxy.Config:
    listed = ", ".join(f'"{url}"' for url in urls)
    return parse_config(
        f'[server]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = "127.0.0.1:0"\n'
        f'[[upstream]]\nname = "u"\nendpoints = [{listed}]\nwarmup = {{ path = "{path}" }}\n'
        f'[metering]\nledger = ""\n'
    )


def sim(*models: str, cold: float = COLD) -> Simulator:
    return Simulator(SimOptions(models=models or ("sim-1",), cold=cold, **FAST))


async def status_of_model(proxy: zeroproxy.Proxy, model: str = "sim-1") -> int:
    body = {"model": model, "max_tokens": 2, "messages": [{"role": "user", "content": "x"}]}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{proxy.listen[0]}{CHAT}", json=body) as response,
    ):
        await response.read()
        return response.status


def endpoint(proxy: zeroproxy.Proxy, url: str) -> dict[str, Any]:
    (found,) = [e for e in proxy.snapshot()["upstreams"][0]["endpoints"] if e["url"] == url]
    return dict(found)


async def get(proxy: zeroproxy.Proxy, path: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(proxy.admin_url + path) as response,
    ):
        return response.status, await response.text()


async def test_ready_waits_until_every_model_is_warm_and_no_caller_meets_a_cold_one():
    async with sim("one", "two") as cold, zeroproxy.Proxy(config(cold.url)) as proxy:
        await until(lambda: cold.stats.met_cold)
        said = f"{cold.url}: one is being warmed up"
        await until(lambda: said in proxy.ready()[1])
        status, text = await get(proxy, "/readyz")
        assert (status, said in text) == (503, True)
        await until(lambda: proxy.ready()[0])
        assert cold.stats.met_cold == 2, "both of ours, one for each model"
        assert [await status_of_model(proxy, model) for model in ("one", "two")] == [200, 200]
        assert cold.stats.met_cold == 2
        found = endpoint(proxy, cold.url)["warmup"]
        assert found["state"] == "warm"
        assert all(seconds >= COLD for seconds in found["seconds"].values())
        _, page = await get(proxy, "/metrics")
        where = f'endpoint="{cold.url}",upstream="u"'
        assert f"zeroproxy_endpoint_cold{{{where}}} 0.0" in page
        assert f'zeroproxy_warmup_seconds{{endpoint="{cold.url}",model="two",upstream="u"}}' in page


async def test_warm_up_requests_are_nobodys_bill():
    async with sim(cold=0.0) as server, zeroproxy.Proxy(config(server.url)) as proxy:
        await until(lambda: proxy.ready()[0])
        assert server.stats.finished == 1
        assert proxy.snapshot()["requests"] == proxy.snapshot()["tokens"] == []
        assert await status_of_model(proxy) == 200
        assert sum(row["count"] for row in proxy.snapshot()["requests"]) == 1


async def test_an_endpoint_that_a_reload_adds_is_asked_by_callers_when_it_is_warm():
    async with sim(cold=0.0) as warm, sim() as new, zeroproxy.Proxy(config(warm.url)) as proxy:
        await until(lambda: proxy.ready()[0])
        assert await proxy.reload(config(warm.url, new.url)) == ["upstream[0].endpoints"]
        assert not endpoint(proxy, new.url)["up"]
        assert proxy.ready()[0], "who has traffic keeps it"
        while not endpoint(proxy, new.url)["up"]:
            assert set(await asyncio.gather(*(status_of_model(proxy) for _ in range(4)))) == {200}
        assert new.stats.met_cold == 1, "ours"


async def test_a_refusal_is_logged_and_delays_no_endpoint():
    async with sim() as server, zeroproxy.Proxy(config(server.url, path="/v1/none")) as proxy:
        await until(lambda: proxy.ready()[0])
        found = endpoint(proxy, server.url)["warmup"]
        assert found["state"] == "failed"
        assert found["reason"].startswith("sim-1: POST /v1/none returned 404")
        assert await status_of_model(proxy) == 200
