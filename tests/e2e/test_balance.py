"""Policies end to end: a proxy as a process, simulators as processes."""

import asyncio
import json
import urllib.request

import aiohttp

from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.sim_process import SimProcess
from tests.support.until import until

HASH = '{ on = ["header:x-session-id", "user", "prompt"] }'


def endpoints(proxy):
    with urllib.request.urlopen(proxy.admin_url + "/status", timeout=20) as answer:
        return json.load(answer)["upstreams"][0]["endpoints"]


async def stream_chat(session, proxy, **more):
    body = {
        "model": "sim-1", "stream": True, "max_tokens": 16,
        "messages": [{"role": "user", "content": "x"}], **more,
    }  # fmt: skip
    async with session.post(proxy.url + "/v1/chat/completions", json=body) as answer:
        assert answer.status == 200
        assert b"[DONE]" in await answer.read()


async def ask_often(proxy, callers, times):
    async def caller(session):
        for _ in range(times):
            await stream_chat(session, proxy)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(caller(session) for _ in range(callers)))


async def test_fastest_learns_which_server_is_quick_and_reads_its_reported_load():
    with (
        SimProcess(tokens_per_second=100, ttft=0.02) as quick,
        SimProcess(tokens_per_second=100 / 2.3, ttft=0.046) as slow,
        ProxyProcess(
            upstream_toml(
                quick.url, slow.url, balance='"fastest"', preset='"vllm"',
                health="{ interval = 0.2 }",
            )
        ) as proxy,
    ):  # fmt: skip
        await ask_often(proxy, callers=6, times=15)
        done = [sim.stats()["finished"] for sim in (quick, slow)]
        assert sum(done) == 90
        assert done[0] > 0.6 * sum(done)
        # Asked again until it is there: a report that is missed is forgotten.
        await until(lambda: all(e["pace"]["told"] is not None for e in endpoints(proxy)))
        assert endpoints(proxy)[0]["pace"]["first"]["samples"] > 0


async def test_users_stay_with_their_server():
    with (
        SimProcess(tokens_per_second=1000, ttft=0) as one,
        SimProcess(tokens_per_second=1000, ttft=0) as two,
        ProxyProcess(
            upstream_toml(one.url, two.url, balance='"consistent_hash"', hash=HASH)
        ) as proxy,
    ):
        homes = {}
        async with aiohttp.ClientSession() as session:
            for user in range(8):
                before = one.stats()["finished"]
                for _ in range(4):
                    await stream_chat(session, proxy, user=f"user {user}")
                homes[user] = one.stats()["finished"] - before
    assert set(homes.values()) <= {0, 4}
