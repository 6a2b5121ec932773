"""One calling convention: each argument that is none is named in its error, and nothing changes."""

import ast
import inspect
import math
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from msgspec.structs import replace

from tests.support.keys import row
from tests.support.script import change, play
from tests.support.settings import LIMITS, POOL, UPSTREAM, endpoint, routes, settings
from tests.support.surfaces import surface
from zeroproxy._fast.engine import enum_names
from zeroproxy._fast.engine.change import Change
from zeroproxy._fast.engine.engine import Engine
from zeroproxy._fast.engine.settings_types import EndpointSettings, ReportedLoad, UpstreamSettings
from zeroproxy._fast.engine.tls_context import Context
from zeroproxy.config.schema import Breaker, Hash, Upstream

LOAD = ReportedLoad(running=1.0, waiting=0.0, cache=0.5, lasts=9.0)


def upstream(**keys):
    return lambda e: e.set_upstream(0, settings=settings(**keys))


def pool(**keys):
    return lambda e: e.set_pool(0, settings=replace(POOL, **keys))


def limits(**keys):
    return lambda e: e.set_limits(replace(LIMITS, **keys))


def added(**keys):
    return lambda e: e.add_endpoint(0, settings=replace(endpoint(9), **keys))


def keys(**more):
    return lambda e: e.set_keys([row("a"), replace(row("b"), **more)])


def seen(**words):
    return lambda e: e.set_endpoint(0, **words)


def share(**more):
    return lambda e: e.share_quota(0, **{"quota": "tokens", "speed": 1.0, "cap": 1.0, **more})


def grant(**more):
    words = {"quota": "tokens", "speed": 1.0, "level": 1.0, "used": 0, **more}
    return lambda e: e.grant_quota(0, **words)


def surfaces(**more):
    return lambda e: e.set_surfaces([replace(surface("GET /a"), **more)])


TYPES = [
    ("settings: UpstreamSettings expected, not dict", lambda e: e.set_upstream(0, settings={})),
    ("breaker: Breaker expected, not dict", upstream(breaker={})),
    ("breaker.failures: int expected, not str", upstream(breaker=Breaker(failures="many"))),
    ("breaker.failures: int expected, not bool", upstream(breaker=Breaker(failures=True))),
    ("breaker.count_busy: bool expected, not int", upstream(breaker=Breaker(count_busy=1))),
    ("upstream.balance: str expected, not int", upstream(balance=1)),
    ("upstream.api_key: str expected, not bytes", upstream(api_key=b"k")),
    ("hash: Hash expected, not NoneType", upstream(hash=None)),
    ("timeouts.connect: float expected, not str", upstream(connect="2")),
    ("pool: Pool expected, not dict", lambda e: e.set_pool(0, settings={})),
    ("pool.max_idle: int expected, not float", pool(max_idle=1.5)),
    ("limits: Limits expected, not dict", lambda e: e.set_limits({})),
    ("limits.body_bytes: int expected, not str", limits(body_bytes="1 GiB")),
    ("endpoint: EndpointSettings expected, not tuple", lambda e: e.add_endpoint(0, settings=())),
    ("endpoint.authority: bytes expected, not str", added(authority="h")),
    ("pool: Pool expected, not NoneType", added(pool=None)),
    ("weight: int expected, not str", added(weight="1")),
    ("up: bool expected, not int", seen(up=1)),
    ("load: ReportedLoad expected, not tuple", seen(load=(1.0, 0.0, 0.5, 9.0))),
    ("load.running: float expected, not str", seen(load=replace(LOAD, running="1"))),
    ("keys: Key expected, not tuple", lambda e: e.set_keys([("k",)])),
    ("key.priority: int expected, not str", keys(priority="5")),
    ("forward: bool expected, not str", lambda e: e.set_keys([row("a")], forward="yes")),
    ("routes: Route expected, not tuple", lambda e: e.set_routes([("m", 0)], default=None)),
    ("surfaces: SurfaceSettings expected, not dict", lambda e: e.set_surfaces([{}])),
    ("surface.paths: dict expected, not tuple", surfaces(paths=("/a",))),
    ("surface.paths: str expected, not int", surfaces(paths={7: ()})),
    ("surface.paths: tuple expected, not str", surfaces(paths={"/a": "GET"})),
    ("surface.strip_headers: tuple expected, not list", surfaces(strip_headers=["x-aa"])),
    ("surface.refuse_fields: str expected, not int", surfaces(refuse_fields=(7,))),
    ("key.surface: str expected, not NoneType", keys(surface=None)),
    ("via: bool expected, not NoneType",
     lambda e: e.set_switches(via=None, trust_forwarded=True, serve_half_close=True)),
    ("after: float expected, not str", lambda e: e.set_keepalive("auto")),
    ("name: str expected, not int", lambda e: e.add_upstream(7, settings=UPSTREAM)),
    ("seconds: float expected, not str", lambda e: e.end_silent(0, seconds="1")),
    ("fd: int expected, not str", lambda e: e.listen("3")),
    ("n: int expected, not str", lambda e: e.records("3")),
    ("is_unix: bool expected, not int", lambda e: e.listen(0, is_unix=1)),
    ("spare_idle: bool expected, not int", lambda e: e.drain(spare_idle=1)),
    ("learned: Learned expected, not tuple", lambda e: e.set_learned(0, learned=())),
    ("level: float expected, not str",
     lambda e: e.set_quota_level(0, quota="tokens", level="1")),
    ("endpoint: int expected, not bool", lambda e: e.set_endpoint(False, up=True)),
    ("upstream: int expected, not bool", lambda e: e.set_upstream(False, settings=UPSTREAM)),
    ("endpoint: int expected, not str", lambda e: e.remove_endpoint("0")),
]  # fmt: skip

VALUES = [
    ("upstream.balance: 'quickest' is none of round_robin, least_inflight, power_of_two, "
     "consistent_hash, fastest", upstream(balance="quickest")),
    ("usage_request: 'all' is none of nothing, usage, running, running_alone, timings",
     seen(usage_request="all")),
    ("hash.on: 'cookie' is none of header, user, prompt", upstream(hash=Hash(on=("cookie:a",)))),
    ("pool.keep_alive: 'ask' is none of fixed, learn", pool(keep_alive="ask")),
    ("quota: 'bytes' is none of requests, tokens",
     lambda e: e.share_quota(0, quota="bytes", speed=1.0, cap=1.0)),
    ("speed: inf is not in 0 to", share(speed=math.inf)),
    ("cap: inf is not in 0 to", share(cap=math.inf)),
    ("speed: an int too large", share(speed=10**400)),
    ("speed: inf is not in 0 to", grant(speed=math.inf)),
    ("level: inf is not in", grant(level=math.inf)),
    ("level: -inf is not in", grant(level=-math.inf)),
    ("level: an int too large", grant(level=-(10**400))),
    ("timeouts.total: an int too large", upstream(total=10**400)),
    ("load.running: inf is not in 0 to", seen(load=replace(LOAD, running=math.inf))),
    ("load.waiting: an int too large", seen(load=replace(LOAD, waiting=10**400))),
    ("load.cache: inf is not in -1 to", seen(load=replace(LOAD, cache=math.inf))),
    ("level: inf is not in", lambda e: e.set_quota_level(0, quota="tokens", level=math.inf)),
    ("quota: 'bytes' is none of", lambda e: e.set_quota_level(0, quota="bytes", level=1.0)),
    ("used: 1 is not in 0 to 0",
     lambda e: e.grant_quota(0, quota="tokens", speed=1.0, level=1.0, used=1)),
    ("retry.attempts: 0 is not in 1 to 255", upstream(attempts=0)),
    ("admission.queue: -1 is not in", upstream(queue=-1)),
    ("hedge.budget: 1.5 is not in 0 to 1", upstream(hedge_budget=1.5)),
    ("timeouts.total: nan is not in", upstream(total=math.nan)),
    ("timeouts.total: inf is not in", upstream(total=math.inf)),
    ("upstream.api_key: longer than", upstream(api_key="k" * 70_000)),
    ("hash.on: more than 4 sources", upstream(hash=Hash(on=("user",) * 5))),
    ("hash.on: longer than 64 bytes", upstream(hash=Hash(on=("header:" + "x" * 65,)))),
    ("pool.max_requests: 4294967296 is not in", pool(max_requests=1 << 32)),
    ("limits.connections: 0 is not in 1 to", limits(connections=0)),
    ("limits.header_bytes: 65536 is not in 1 to 49152", limits(header_bytes=65536)),
    ("endpoint.sockaddr: longer than 128 bytes", added(sockaddr=bytes(129))),
    ("endpoint.tls_host: set_tls of its upstream comes first", added(tls_host=b"h")),
    ("weight: 0 is not in 1 to", added(weight=0)),
    ("load.cache: -2.0 is not in -1 to", seen(load=replace(LOAD, cache=-2.0))),
    ("key.sha256: not 64 hex digits", keys(sha256="short")),
    ("keys: two have the same sha256", keys(sha256=row("a").sha256)),
    ("key.models: longer than 256 bytes", keys(models=("m" * 257,))),
    ("surfaces: 2 of them, and 1 upstreams", lambda e: e.set_surfaces([surface(), surface()])),
    ("surface.paths: a does not begin with /", surfaces(paths={"a": ()})),
    ("surface.paths: FETCH is no method", surfaces(paths={"/a": ("FETCH",)})),
    ("surface.paths: longer than 1024 bytes", surfaces(paths={"/" * 1025: ()})),
    ("surface.strip_headers: x-* does not have 4 to 40", surfaces(strip_headers=("x-*",))),
    ("surface.refuse_fields: a\"b is not printable ASCII", surfaces(refuse_fields=('a"b',))),
    ("surface.refuse_fields: more than 64 names",
     surfaces(refuse_fields=tuple(f"m{k}" for k in range(65)))),
    ("key.surface: 'some' is none of", keys(surface="some")),
    ("route.model: empty", lambda e: e.set_routes(routes(("m", 0), ("", 0)), default=None)),
    ("sample: 2 is not in 0 to 1", lambda e: e.set_tracing(2)),
    ("route.serves: longer than 256 bytes",
     lambda e: e.set_routes(routes(("m", 0, "s" * 257)), default=None)),
    ("server_name: longer than 255 bytes",
     lambda e: e.set_tls(Context.client(verify=False), upstream=0, server_name=b"h" * 256)),
    ("context: endpoints that are https://", lambda e: e.set_tls(None, upstream=0)),
]  # fmt: skip

INDICES = [
    ("endpoint: no 9, there are 1", lambda e: e.set_endpoint(9, up=True)),
    ("endpoint: no -1, there are 1", lambda e: e.remove_endpoint(-1)),
    ("endpoint: no 9", lambda e: e.end_silent(9, seconds=1.0)),
    ("only: no 9", lambda e: e.health_sample(only=9)),
    ("index: no 9", lambda e: e.set_quota_level(9, quota="tokens", level=1.0)),
    ("upstream: no 1, there are 1", lambda e: e.set_upstream(1, settings=UPSTREAM)),
    ("upstream: no 1", lambda e: e.add_endpoint(1, settings=endpoint(9))),
    ("route.upstream: no 1", lambda e: e.set_routes(routes(("m", 0), ("n", 1)), default=None)),
    ("default: no 1", lambda e: e.set_routes(routes(("m", 0)), default=1)),
    ("index: no 9", lambda e: e.share_quota(9, quota="tokens", speed=1.0, cap=1.0)),
]


@pytest.mark.parametrize(
    ("kind", "message", "call"),
    [
        *((TypeError, *case) for case in TYPES),
        *((ValueError, *case) for case in VALUES),
        *((IndexError, *case) for case in INDICES),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_what_is_no_argument_is_named_and_changes_nothing(kind, message, call):
    with play() as script:
        script.engine.set_keys([row("k", tokens=9)])
        before = script.engine.snapshot()
        with pytest.raises(kind) as error:
            call(script.engine)
        assert str(error.value).startswith(message)
        assert script.engine.snapshot() == before


@pytest.mark.parametrize("kind", [UpstreamSettings, EndpointSettings, ReportedLoad])
def test_a_key_that_is_missing_or_unknown_is_named(kind):
    first = next(iter(kind.__struct_fields__))
    with pytest.raises(TypeError, match=f"'{first}'"):
        kind()
    with pytest.raises(TypeError, match="'speed'"):
        kind(speed=1)


STEPS = [
    (ValueError, "timeouts.total: -1.0", upstream(total=-1.0)),
    (ValueError, "endpoint.tls_host: set_tls", added(tls_host=b"h")),
    (ValueError, "context: endpoints that are https://", lambda c: c.set_tls(None, upstream=0)),
    (TypeError, "name: str expected, not int", lambda c: c.add_upstream(7, settings=UPSTREAM)),
    (TypeError, "'NoneType' object is not iterable",
     lambda c: c.add_upstream("u", settings=UPSTREAM, endpoints=None)),
    (TypeError, "'NoneType' object is not iterable", lambda c: c.set_routes(None, default=0)),
    (TypeError, "context: Context expected, not str", lambda c: c.set_tls("PEM")),
    (TypeError, "endpoint: EndpointSettings expected", lambda c: c.add_endpoint(0, settings=())),
    (IndexError, "upstream: no 9", lambda c: c.set_upstream(9, settings=UPSTREAM)),
    (IndexError, "upstream: no 9", lambda c: c.add_endpoint(9, settings=endpoint(9))),
    (IndexError, "upstream: no 9", lambda c: c.set_tls(Context.client(verify=False), upstream=9)),
    (IndexError, "endpoint: no 9", lambda c: c.set_endpoint(9, up=True)),
    (IndexError, "endpoint: no 9", lambda c: c.set_pool(9, settings=POOL)),
    (IndexError, "endpoint: no 9", lambda c: c.remove_endpoint(9)),
    (RuntimeError, "keys are set once", lambda c: (c.set_keys([row("a")]), c.set_keys(None))),
    (RuntimeError, "routes are set once",
     lambda c: (c.set_routes([], default=0), c.set_routes([], default=None))),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "message", "call"), STEPS, ids=[case[1] for case in STEPS])
def test_a_step_that_failed_spoils_its_change(kind, message, call):
    """Its error was caught inside the block: half of the change would have been put in force."""
    with play() as script:
        before = script.engine.snapshot()
        with pytest.raises(RuntimeError, match="nothing is in force"), script.engine.change() as c:
            c.set_endpoint(0, weight=7)
            with pytest.raises(kind) as error:
                call(c)
            assert str(error.value).startswith(message)
        assert script.engine.snapshot() == before
        change(script, max_inflight=3)
        assert script.engine.snapshot()["upstreams"][0]["max_inflight"] == 3


# ---------------------------------------------------------------- the convention itself


def methods(kind):
    return {n: m for n, m in inspect.getmembers(kind, callable) if not n.startswith("_")}


@pytest.mark.parametrize("kind", [Engine, Change])
def test_every_method_takes_one_subject_by_position_and_has_a_docstring(kind):
    for name, method in methods(kind).items():
        kinds = [p.kind for p in inspect.signature(method).parameters.values()][1:]
        assert kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) <= 1, name
        assert set(kinds) <= {
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            inspect.Parameter.KEYWORD_ONLY,
        }, name
        assert method.__doc__, name


@pytest.mark.parametrize("kind", [Engine, Change])
def test_the_stubs_have_every_method_and_no_other(kind):
    """mypy checks callers against the stubs, and nothing else checks the stubs."""
    folder = Path("zeroproxy/_fast/engine")
    stubs = [folder / f"{kind.__name__.lower()}.pyi"]
    stubs += [folder / "thread.pyi", folder / "token_values.pyi"] if kind is Engine else []
    found = {}
    for stub in stubs:
        for node in ast.walk(ast.parse(stub.read_text())):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                found[node.name] = [a.arg for a in (*node.args.args, *node.args.kwonlyargs)]
    real = {n: list(inspect.signature(m).parameters) for n, m in methods(kind).items()}
    real.pop("run", None)  # of the thread alone
    found.pop("exclusive", None)  # a property
    assert found == real


@pytest.mark.parametrize("name", sorted(methods(Change)))
def test_a_step_takes_what_its_method_of_engine_takes(name):
    assert inspect.signature(getattr(Change, name)) == inspect.signature(getattr(Engine, name))


def test_the_configuration_names_policies_and_sources_as_the_data_plane_does():
    assert set(get_args(get_type_hints(Upstream)["balance"])) == {*enum_names.BALANCES}
    assert {on.partition(":")[0] for on in Hash().on} == {*enum_names.HASH_SOURCES}


def test_the_numbers_of_the_breakers_metric_stay():
    """zeroproxy_breaker_state is the place of the name: 0 closed, 1 half open, 2 open."""
    assert enum_names.BREAKER_STATES == ("closed", "half_open", "open")
