"""Keys that a reload may change, its refusals and their messages; the parts of a reload."""

import asyncio
import contextlib
import re

import msgspec
import pytest

from tests.support.endpoint_set import fill
from tests.support.until import until
from zeroproxy.config.load import parse_config
from zeroproxy.config.schema import Config, Limits, Upstream
from zeroproxy.errors import ReloadError
from zeroproxy.policy.proxy_readiness import Readiness
from zeroproxy.policy.socket_addresses import resolve
from zeroproxy.server.config_diff import plan
from zeroproxy.server.endpoints import EndpointSet, resolve_all
from zeroproxy.server.reload import check

BASE = """
[server]
listen = "127.0.0.1:8080"
via = true
[admin]
listen = "127.0.0.1:9090"
[limits]
body_bytes = 1000
[log]
access = ""
[[upstream]]
name = "u"
endpoints = ["http://127.0.0.1:1"]
balance = "least_inflight"
timeouts = { total = 5.0 }
"""


def changed(old: str, new: str, text: str = BASE) -> list[str]:
    assert old in text
    return plan(parse_config(text), parse_config(text.replace(old, new)))


# ---------------------------------------------------------------- the plan


def test_the_same_configuration_changes_nothing():
    assert plan(parse_config(BASE), parse_config(BASE)) == []


def test_another_spelling_of_the_same_changes_nothing():
    assert changed('"127.0.0.1:8080"', '["127.0.0.1:8080"]') == []
    url = "http://127.0.0.1:1"
    assert changed(f'["{url}"]', f'[{{ url = "{url}", weight = 1 }}]') == []


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ("body_bytes = 1000", "body_bytes = 7\nheader_timeout = 1.0",
         ["limits.body_bytes", "limits.header_timeout"]),
        ("via = true", "via = false\ndrain_timeout = 1.0\ntrust_forwarded = true\n"
         "half_close = 'serve'",
         ["server.drain_timeout", "server.via", "server.trust_forwarded", "server.half_close"]),
        ("via = true", 'drain_settle = 9.0\nsse_keepalive = "auto"\ntcp_keepalive = 0',
         ["server.drain_settle", "server.sse_keepalive", "server.tcp_keepalive"]),
        ('access = ""', 'access = "jsonl:/x"', ["log.access"]),
        ('["http://127.0.0.1:1"]', '["http://127.0.0.1:2"]', ["upstream[0].endpoints"]),
        ("least_inflight", "round_robin", ["upstream[0].balance"]),
        ('"least_inflight"', '"consistent_hash"\nhash = { on = ["user"], load_bound = 2.0 }',
         ["upstream[0].balance", "upstream[0].hash.on", "upstream[0].hash.load_bound"]),
        ("{ total = 5.0 }", "{ total = 6.0 }\nretry = { attempts = 1 }\npool = { max_idle = 1 }\n"
         "admission = { queue = 2 }",
         ["upstream[0].pool.max_idle", "upstream[0].admission.queue", "upstream[0].timeouts.total",
          "upstream[0].retry.attempts"]),
    ],
)  # fmt: skip
def test_what_is_live_is_named(old, new, keys):
    assert changed(old, new) == keys


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8081", "server.listen"),
        ("127.0.0.1:9090", "", "admin.listen"),
        ('name = "u"', 'name = "v"', "upstream[0].name"),
    ],
)
def test_what_needs_a_restart_is_refused_and_named(old, new, key):
    with pytest.raises(ReloadError) as found:
        changed(old, new)
    assert str(found.value) == f"{key}: cannot change while the proxy runs; a restart is needed"


def test_one_fixed_key_refuses_the_whole_reload():
    new = BASE.replace("body_bytes = 1000", "body_bytes = 7").replace(":8080", ":8081")
    with pytest.raises(ReloadError, match=r"^server\.listen: cannot"):
        plan(parse_config(BASE), parse_config(new))


def test_all_fixed_keys_are_named_at_once():
    new = parse_config(BASE.replace(":8080", ":8081").replace(":9090", ":9091"))
    with pytest.raises(ReloadError, match=r"^server\.listen, admin\.listen: cannot"):
        plan(parse_config(BASE), new)


def test_an_upstream_more_is_refused():
    old = parse_config(BASE)
    new = msgspec.structs.replace(old, upstream=old.upstream * 2)
    with pytest.raises(ReloadError, match=r"^upstream: cannot change"):
        plan(old, new)


@pytest.mark.parametrize(
    ("limits", "urls", "reason"),
    [
        (Limits(body_timeout=-1.0), ("http://h:1",), "limits.body_timeout"),
        (Limits(), ("http://h:1", "http://h:1"), "upstream[0].endpoints[1]: http://h:1 is there"),
        (Limits(), (), "upstream[0].endpoints: at least one"),
    ],
)
def test_a_configuration_made_by_hand_is_checked_like_a_file(limits, urls, reason):
    with pytest.raises(ReloadError, match=re.escape(reason)):
        check(Config(upstream=(Upstream(name="u", endpoints=urls),), limits=limits))


# ---------------------------------------------------------------- endpoints


class FakeEngine:
    """Endpoints by index, as EndpointSet sees the engine."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.live: set[int] = set()
        self.weights: dict[int, int] = {}
        self.capacity = 99

    @contextlib.contextmanager
    def change(self):
        was = set(self.live), dict(self.weights)
        try:
            yield self
        except BaseException:
            self.live, self.weights = was
            raise

    def add_upstream(self, name, *, settings):
        return 0

    def set_upstream(self, index, *, settings):
        self.settings = settings

    def set_routes(self, routes, *, default):
        self.routes = (routes, default)

    def add_endpoint(self, index, *, settings):
        if len(self.live) >= self.capacity:
            raise ValueError("no slot is left")
        if settings.url not in self.urls:
            self.urls.append(settings.url)
        at = self.urls.index(settings.url)
        self.live.add(at)
        self.weights[at] = settings.weight
        return at

    def remove_endpoint(self, index):
        self.live.discard(index)
        del self.weights[index]

    def set_pool(self, index, *, settings):
        assert index in self.live

    def set_endpoint(self, index, *, weight):
        assert index in self.live
        self.weights[index] = weight


def with_endpoints(*urls: str) -> Config:
    listed = ", ".join(f'"http://{url}"' for url in urls)
    return parse_config(f'[[upstream]]\nname = "u"\nendpoints = [{listed}]\n')


async def filled(*urls: str) -> tuple[FakeEngine, EndpointSet]:
    engine = FakeEngine()
    endpoint_set = EndpointSet(engine)  # type: ignore[arg-type]
    config = with_endpoints(*urls)
    fill(endpoint_set, config, await resolve_all(config))
    return engine, endpoint_set


async def test_endpoints_come_and_go_and_those_that_stay_keep_their_slot():
    engine, endpoint_set = await filled("127.0.0.1:1", "127.0.0.1:2")
    config = with_endpoints("127.0.0.1:3", "127.0.0.1:2")
    endpoint_set.change(config, await resolve_all(config, endpoint_set.known()))
    assert engine.live == {1, 2}
    assert [a.url for a in endpoint_set.addresses()] == ["http://127.0.0.1:3", "http://127.0.0.1:2"]
    assert engine.weights == {1: 1, 2: 1}


async def test_an_endpoint_that_cannot_be_added_leaves_all_as_it_was():
    engine, endpoint_set = await filled("127.0.0.1:1")
    engine.capacity = 2
    before = endpoint_set.addresses()
    config = with_endpoints("127.0.0.1:2", "127.0.0.1:3")
    with pytest.raises(ReloadError, match="no slot is left"):
        endpoint_set.change(config, await resolve_all(config, endpoint_set.known()))
    assert engine.live == {0}
    assert endpoint_set.addresses() == before


async def test_an_endpoint_that_stays_is_not_resolved_again(logged):
    _, endpoint_set = await filled("127.0.0.1:1")
    known = [{("http://gone.invalid:1", False): (endpoint_set.addresses()[0],)}]
    config = with_endpoints("gone.invalid:1")
    assert (await resolve_all(config, known))[0] == known[0]
    assert (await resolve_all(config))[0] == {("http://gone.invalid:1", False): ()}
    assert "cannot resolve gone.invalid" in logged[0]


# ---------------------------------------------------------------- readiness


async def test_readiness_probes_the_new_set():
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    readiness = Readiness([await resolve("http://127.0.0.1:1")])
    try:
        readiness.probe_until_ready()
        await until(lambda: "127.0.0.1:1:" in readiness.state()[1][0])
        readiness.watch([await resolve(f"http://127.0.0.1:{port}")])
        await until(lambda: readiness.state() == (True, []))
        readiness.watch([await resolve("http://127.0.0.1:1")])
        await until(lambda: not readiness.state()[0])
    finally:
        await readiness.stop()
        server.close()
        await server.wait_closed()
