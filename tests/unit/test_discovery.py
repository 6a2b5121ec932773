"""The kind of a server by its own answers, and one list of models out of several."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.support.until import until
from zeroproxy.config.schema import Alias, Config, Metering, Upstream
from zeroproxy.policy import server_detection as module
from zeroproxy.policy.rotation import Rotation
from zeroproxy.policy.server_detection import (
    Discovery,
    kind_in,
    list_models,
    merged,
    models_in,
    usage_request_for,
)
from zeroproxy.policy.socket_addresses import resolve


def models(*names, owner="vllm"):
    return {"object": "list", "data": [{"id": name, "owned_by": owner} for name in names]}


@pytest.mark.parametrize(
    ("kind", "metering", "usage_request"),
    [
        ("vllm", Metering(), "running"),
        ("sglang", Metering(), "running_alone"),
        ("llamacpp", Metering(), "timings"),
        ("llamacpp", Metering(continuous_usage="always"), "timings"),
        ("llamacpp", Metering(continuous_usage="never"), "nothing"),
        ("llamacpp", Metering(inject_usage=False), "nothing"),
        ("fastchat", Metering(), "nothing"),
        ("something", Metering(), "usage"),
        ("", Metering(), "usage"),
        ("vllm", Metering(continuous_usage="never"), "usage"),
        ("something", Metering(continuous_usage="always"), "running"),
        ("vllm", Metering(inject_usage=False), "nothing"),
        ("vllm", Metering(inject_usage=False, continuous_usage="always"), "nothing"),
    ],
)
def test_usage_requests_by_server(kind, metering, usage_request):
    assert usage_request_for(metering, kind) == usage_request


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
        status, answer = await list_models(await resolve(url))
        assert (status, list(models_in(answer))) == (200, names)


class FakeEngine:
    def __init__(self):
        self.usage_requests = {}
        self.models = b""
        self.lists = 0

    def set_endpoint(self, index, *, usage_request=None):
        self.usage_requests[index] = usage_request

    def set_models(self, body):
        self.models = body
        self.lists += 1


class ActiveEndpoint:
    def __init__(self, index, address):
        self.index, self.address = index, address


@asynccontextmanager
async def server(answer, status=200, port=0, page=None, asked=None):
    """`answer` and `status` may be callables; `page`: its counters; `asked`: grows with each."""

    async def reply(request):
        if asked is not None:
            asked.append(request)
        logged = answer() if callable(answer) else answer
        return web.json_response(logged, status=status() if callable(status) else status)

    async def counters(_):
        return web.Response(text=page)

    app = web.Application()
    app.router.add_get("/v1/models", reply)
    if page is not None:
        app.router.add_get("/metrics", counters)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def asked(*urls, metering=None, upstreams=None, **more):
    engine = FakeEngine()
    discovery = Discovery(engine, Rotation(engine))
    upstreams = upstreams or (Upstream(name="u", endpoints=urls, **more),)
    members = {url: ActiveEndpoint(k, await resolve(url)) for k, url in enumerate(urls)}
    groups = [(u, [members[url] for url in u.endpoints]) for u in upstreams]
    discovery.watch(groups, Config(upstream=upstreams, metering=metering or Metering()))
    return engine, discovery


async def test_an_endpoint_is_asked_once_and_the_engine_told():
    async with server(models("m")) as url:
        engine, discovery = await asked(url)
        await until(lambda: url in discovery.server_kinds)
        assert engine.usage_requests == {0: "running"}
        assert discovery.server_kinds == {url: "vllm"}
        assert engine.models is None
        await discovery.stop()


@pytest.mark.parametrize(("answer", "status"), [({"error": "key"}, 401), ("text", 200)])
async def test_a_server_that_says_nothing_is_asked_for_usage_at_the_end(answer, status):
    async with server(answer, status) as url:
        engine, discovery = await asked(url)
        await until(lambda: url in discovery.server_kinds)
        assert engine.usage_requests == {0: "usage"}
        await discovery.stop()


async def test_nobody_is_asked_if_nothing_is_wanted():
    engine, discovery = await asked("http://127.0.0.1:1", metering=Metering(inject_usage=False))
    await discovery.stop()
    assert engine.usage_requests == {0: "nothing"}
    assert discovery.server_kinds == {}


async def test_several_upstreams_make_up_one_list():
    async with server(models("a")) as one, server(models("b", "c")) as two:
        upstreams = (
            Upstream(name="one", endpoints=(one,), models=("a",)),
            Upstream(name="two", endpoints=(two,)),
        )
        engine, discovery = await asked(one, two, upstreams=upstreams)
        await until(lambda: ids(engine.models) == ["a", "b", "c"])
        await discovery.stop()


async def test_a_name_that_is_several_endpoints_lists_what_all_of_them_have():
    async with server(models("a", "b")) as one, server(models("c")) as two:
        found = [await resolve(url) for url in (one, two)]
        name = Upstream(name="u", endpoints=("http://name:1",), models=("a", "c"))
        rest = Upstream(name="v", endpoints=("http://other:1",))
        engine = FakeEngine()
        discovery = Discovery(engine, Rotation(engine))
        members = [ActiveEndpoint(k, at) for k, at in enumerate(found)]
        config = Config(upstream=(name, rest))
        discovery.watch([(name, members), (rest, [])], config)
        await until(lambda: len(discovery.server_kinds) == 2)
        await until(lambda: engine.lists == 2)
        listed = json.loads(engine.models)["data"]
        assert [(m["id"], m["owned_by"]) for m in listed] == [("a", "vllm"), ("c", "vllm")]
        discovery.watch([(name, members[:1]), (rest, [])], config)
        assert json.loads(engine.models)["data"][1]["owned_by"] == "zeroproxy"
        await discovery.stop()


async def test_a_server_that_comes_up_later_is_asked_again(unused_tcp_port):
    url = f"http://127.0.0.1:{unused_tcp_port}"
    _, discovery = await asked(url)
    await asyncio.sleep(0)
    assert discovery.server_kinds == {}
    async with server(models("m", owner="llamacpp"), port=unused_tcp_port):
        await until(lambda: discovery.server_kinds == {url: "llamacpp"})
        await discovery.stop()


# ---------------------------------------------------------------- behind a key

REFUSED = {"error": "Unauthorized"}
LACK = (
    "GET /v1/models returned 401: running usage is not asked for, so a stream that is cut counts "
    "only what was seen of it; set preset, or api_key where the server wants one"
)


async def test_a_preset_is_believed_at_once_and_nobody_asks(logged):
    asks = []
    async with server(REFUSED, 401, asked=asks) as url:
        engine, discovery = await asked(url, preset="vllm")
        assert engine.usage_requests == {0: "running"}
        assert discovery.server_kinds == {url: "vllm"}
        await discovery.first_round(5)
        await discovery.stop()
        assert (asks, logged, discovery.unknown()) == ([], [], {})


async def test_a_preset_that_names_no_server_says_nothing():
    async with server(models("m")) as url:
        engine, discovery = await asked(url, preset="openai")
        await discovery.first_round(5)
        assert engine.usage_requests == {0: "running"}
        await discovery.stop()


@pytest.mark.parametrize(
    ("line", "kind", "usage_request"),
    [
        ('vllm:generation_tokens_total{model_name="a"} 0.0', "vllm", "running"),
        ("sglang:num_running_reqs 0.0", "sglang", "running_alone"),
        ("llamacpp:prompt_tokens_total 0", "llamacpp", "timings"),
        ("process_cpu_seconds_total 1.0", "", "usage"),
    ],
)
async def test_the_page_of_counters_tells_what_the_list_keeps_for_itself(line, kind, usage_request):
    async with server(REFUSED, 401, page=f"# HELP x\n{line}\n") as url:
        engine, discovery = await asked(url)
        await discovery.first_round(5)
        assert discovery.server_kinds == {url: kind}
        assert engine.usage_requests == {0: usage_request}
        await discovery.stop()


async def test_an_unknown_server_is_logged_once_with_its_cost(logged):
    async with server(REFUSED, 401) as url:
        _, discovery = await asked(url)
        await discovery.first_round(5)
        assert logged == [f"{url}: what server it is is not known, {LACK}"]
        assert discovery.unknown() == {url: LACK}
        discovery.begin_anew(0)
        await until(lambda: all(task.done() for task in discovery._tasks.values()))
        assert len(logged) == 1
        await discovery.stop()


@pytest.mark.parametrize("metering", [Metering(continuous_usage="always"),
                                      Metering(continuous_usage="never")])  # fmt: skip
async def test_nothing_is_logged_where_the_operator_decides(metering, logged):
    async with server(REFUSED, 401) as url:
        _, discovery = await asked(url, metering=metering)
        await discovery.first_round(5)
        assert (logged, discovery.unknown()) == ([], {})
        await discovery.stop()


@pytest.mark.parametrize("status", [503, 429, 500])
async def test_a_server_that_still_loads_is_asked_again(status):
    codes = iter([status])
    async with server(models("m"), lambda: next(codes, 200)) as url:
        engine, discovery = await asked(url)
        await until(lambda: discovery.server_kinds == {url: "vllm"})
        assert engine.usage_requests == {0: "running"}
        await discovery.stop()


async def test_one_that_was_out_is_asked_again_for_it_may_be_another():
    owners = iter(["vllm", "llamacpp"])
    async with server(lambda: models("m", owner=next(owners))) as url:
        engine, discovery = await asked(url)
        await discovery.first_round(5)
        assert engine.usage_requests == {0: "running"}
        discovery.begin_anew(0)
        await until(lambda: discovery.server_kinds == {url: "llamacpp"})
        assert engine.usage_requests == {0: "timings"}
        await discovery.stop()


# ---------------------------------------------------------------- many


async def test_the_list_of_models_is_made_once_for_many_answers(monkeypatch):
    monkeypatch.setattr(module, "LIST_EVERY", 3600.0)
    async with server(models("m")) as url:
        upstreams = [Upstream(name=f"u{k}", endpoints=(url,), models=(f"m{k}",)) for k in range(30)]
        engine = FakeEngine()
        discovery = Discovery(engine, Rotation(engine))
        at = await resolve(url)
        groups = [
            (u, [ActiveEndpoint(2 * k, at), ActiveEndpoint(2 * k + 1, at)])
            for k, u in enumerate(upstreams)
        ]
        discovery.watch(groups, Config(upstream=tuple(upstreams)))
        assert engine.lists == 1
        await discovery.first_round(60)
        assert len(engine.usage_requests) == 60
        assert engine.lists == 2, "one for all sixty answers"
        await discovery.stop()


async def test_a_first_look_waits_for_all_but_for_nobody_who_is_down(unused_tcp_port):
    async with server(models("m")) as url:
        engine, discovery = await asked(url, f"http://127.0.0.1:{unused_tcp_port}")
        await discovery.first_round(3600)
        assert discovery.server_kinds == {url: "vllm"}
        assert engine.usage_requests == {0: "running", 1: "usage"}
        await discovery.stop()
