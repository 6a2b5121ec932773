"""What a server says it is, and one list of models out of several."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.support.until import until
from zeroproxy.config import Alias, Config, Metering, Upstream
from zeroproxy.policy.addresses import resolve
from zeroproxy.policy.backend import Backends, ask, kind_in, merged, models_in, wish_for


def models(*names, owner="vllm"):
    return {"object": "list", "data": [{"id": name, "owned_by": owner} for name in names]}


@pytest.mark.parametrize(
    ("kind", "metering", "wish"),
    [
        ("vllm", Metering(), 2),
        ("sglang", Metering(), 3),
        ("llamacpp", Metering(), 4),
        ("llamacpp", Metering(continuous_usage="always"), 4),
        ("llamacpp", Metering(continuous_usage="never"), 0),
        ("llamacpp", Metering(inject_usage=False), 0),
        ("fastchat", Metering(), 0),
        ("something", Metering(), 1),
        ("", Metering(), 1),
        ("vllm", Metering(continuous_usage="never"), 1),
        ("something", Metering(continuous_usage="always"), 2),
        ("vllm", Metering(inject_usage=False), 0),
        ("vllm", Metering(inject_usage=False, continuous_usage="always"), 0),
    ],
)
def test_what_a_server_is_asked_for(kind, metering, wish):
    assert wish_for(metering, kind) == wish


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (models("a"), "vllm"),
        (models("a", owner="SGLang"), "sglang"),
        (models(), ""),
        ({"data": [{"id": "a"}]}, ""),
        ({"data": [{"owned_by": 7}]}, ""),
        ({"data": [{"owned_by": "vllm-frontend-rs"}]}, "vllm"),
        ({"data": {}}, ""),
        ([], ""),
        (None, ""),
        ("vllm", ""),
    ],
)
def test_a_list_of_models_says_what_its_server_is(answer, kind):
    assert kind_in(answer) == kind


def named(*names):
    return [Alias(name=name, serves=name) for name in names]


def test_a_model_under_another_name_is_listed_by_that_name():
    body = merged([([Alias(name="mine", serves="real")], [models("real")])])
    assert json.loads(body)["data"] == [{"id": "mine", "owned_by": "vllm"}]


def ids(body):
    return [model["id"] for model in json.loads(body)["data"]]


def test_a_merged_list_has_each_model_once_and_those_only_that_are_reached():
    body = merged([
        (named("a", "quiet"), [models("a", "hidden"), None]),
        ([], [models("a", "c"), models("c", "d")]),
    ])  # fmt: skip
    assert ids(body) == ["a", "quiet", "c", "d"]
    assert json.loads(body)["data"][0]["owned_by"] == "vllm"


def test_a_merged_list_of_silent_servers_is_what_is_configured():
    assert ids(merged([(named("a"), []), ([], [None, "x", {"data": 3}])])) == ["a"]


async def test_a_list_that_comes_in_many_parts_is_read_to_its_end():
    names = [f"model-{k}" for k in range(20000)]
    async with server(models(*names)) as url:
        assert list(models_in(await ask(await resolve(url)))) == names


class FakeEngine:
    def __init__(self):
        self.wishes = {}
        self.models = b""

    def set_endpoint(self, index, *, wish=None):
        self.wishes[index] = wish

    def set_models(self, body):
        self.models = body


class Member:
    def __init__(self, index, address, place=None):
        self.index, self.address = index, address
        self.place = place or (address.url, False)


@asynccontextmanager
async def server(answer, status=200, port=0):
    async def reply(_):
        return web.json_response(answer, status=status)

    app = web.Application()
    app.router.add_get("/v1/models", reply)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def asked(*urls, metering=None, upstreams=None):
    engine = FakeEngine()
    backends = Backends(engine)
    members = [Member(k, await resolve(url)) for k, url in enumerate(urls)]
    config = Config(
        upstream=upstreams or (Upstream(name="u", endpoints=urls),),
        metering=metering or Metering(),
    )
    backends.watch(members, config)
    return engine, backends


async def test_an_endpoint_is_asked_once_and_the_engine_told():
    async with server(models("m")) as url:
        engine, backends = await asked(url)
        await until(lambda: url in backends.kinds)
        assert engine.wishes == {0: 2}
        assert backends.kinds == {url: "vllm"}
        assert engine.models is None
        await backends.stop()


@pytest.mark.parametrize(("answer", "status"), [({"error": "key"}, 401), ("text", 200)])
async def test_a_server_that_says_nothing_is_asked_for_usage_at_the_end(answer, status):
    async with server(answer, status) as url:
        engine, backends = await asked(url)
        await until(lambda: url in backends.kinds)
        assert engine.wishes == {0: 1}
        await backends.stop()


async def test_nobody_is_asked_if_nothing_is_wanted():
    engine, backends = await asked("http://127.0.0.1:1", metering=Metering(inject_usage=False))
    await backends.stop()
    assert engine.wishes == {0: 0}
    assert backends.kinds == {}


async def test_several_upstreams_make_up_one_list():
    async with server(models("a")) as one, server(models("b", "c")) as two:
        upstreams = (
            Upstream(name="one", endpoints=(one,), models=("a",)),
            Upstream(name="two", endpoints=(two,)),
        )
        engine, backends = await asked(one, two, upstreams=upstreams)
        await until(lambda: len(backends.kinds) == 2)
        assert ids(engine.models) == ["a", "b", "c"]
        await backends.stop()


async def test_a_name_that_is_several_endpoints_lists_what_all_of_them_have():
    async with server(models("a", "b")) as one, server(models("c")) as two:
        found = [await resolve(url) for url in (one, two)]
        name = Upstream(name="u", endpoints=("http://name:1",), models=("a", "c"))
        rest = Upstream(name="v", endpoints=("http://other:1",))
        engine = FakeEngine()
        backends = Backends(engine)
        members = [Member(k, at, ("http://name:1", True)) for k, at in enumerate(found)]
        backends.watch(members, Config(upstream=(name, rest)))
        await until(lambda: len(backends.kinds) == 2)
        listed = json.loads(engine.models)["data"]
        assert [(m["id"], m["owned_by"]) for m in listed] == [("a", "vllm"), ("c", "vllm")]
        backends.watch(members[:1], Config(upstream=(name, rest)))
        assert json.loads(engine.models)["data"][1]["owned_by"] == "zeroproxy"
        await backends.stop()


async def test_a_server_that_comes_up_later_is_asked_again(unused_tcp_port):
    url = f"http://127.0.0.1:{unused_tcp_port}"
    _, backends = await asked(url)
    await asyncio.sleep(0)
    assert backends.kinds == {}
    async with server(models("m", owner="llamacpp"), port=unused_tcp_port):
        await until(lambda: backends.kinds == {url: "llamacpp"})
        await backends.stop()
