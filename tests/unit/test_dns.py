"""Names that move: looked up again, followed, and what happens when they cannot be found."""

import asyncio
import contextlib
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.endpoint_set import fill
from tests.support.until import until
from zeroproxy._fast.engine.settings_types import Route
from zeroproxy.config.load import parse_config
from zeroproxy.errors import ConfigError
from zeroproxy.policy import socket_addresses as addresses
from zeroproxy.policy.socket_addresses import is_name, resolve_each
from zeroproxy.server.dns_watcher import DnsWatcher, interval
from zeroproxy.server.endpoints import EndpointSet, resolve_all

URL = "http://vllm.example:8000"


class Resolver:
    """Stands for the loop's; `answers` are its next results, an exception is raised."""

    def __init__(self) -> None:
        self.answers: list[str] | OSError = ["10.0.0.1"]
        self.known: dict[str, list[str]] = {}
        self.asked = 0

    async def look_up(self, host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
        self.asked += 1
        answers = self.known.get(host, self.answers)
        if isinstance(answers, OSError):
            raise answers
        return [
            (socket.AF_INET6, (ip, port, 0, 0)) if ":" in ip else (socket.AF_INET, (ip, port))
            for ip in answers
        ]


@pytest.fixture
def resolver(monkeypatch):
    found = Resolver()
    monkeypatch.setattr(addresses, "look_up", found.look_up)
    return found


class Engine:
    """Slots by URL and address, as engine/registry.pyx keeps them."""

    def change(self):
        return contextlib.nullcontext(self)

    def __init__(self) -> None:
        self.slots: list[tuple[str, bytes]] = []
        self.live: list[int] = []
        self.log: list[str] = []
        self.drained: dict[int, bool] = {}

    def add_upstream(self, name, *, settings):
        return 0

    def set_upstream(self, index, *, settings): ...

    def set_routes(self, routes, *, default):
        self.routes = (routes, default)

    def set_endpoint(self, index, *, weight=None, draining=None):
        if draining is not None:
            self.drained[index] = draining

    def set_pool(self, index, *, settings): ...

    def add_endpoint(self, index, *, settings):
        where = settings.url, settings.sockaddr
        if where not in self.slots:
            self.slots.append(where)
        slot = self.slots.index(where)
        self.live.append(slot)
        self.log.append(f"+{slot}")
        return slot

    def remove_endpoint(self, index):
        self.live.remove(index)
        self.log.append(f"-{index}")


class Running(SimpleNamespace):
    def watch(self) -> None:
        self.watched += 1


def config_of(*endpoints: str, ttl: float = 30.0):
    listed = ", ".join(endpoints)
    return parse_config(f'[[upstream]]\nname = "u"\nendpoints = [{listed}]\ndns_ttl = {ttl}\n')


async def started(*endpoints: str) -> tuple[Running, DnsWatcher]:
    config = config_of(*endpoints)
    engine = Engine()
    endpoint_set = EndpointSet(engine)  # type: ignore[arg-type]
    fill(endpoint_set, config, await resolve_all(config))
    running = Running(config=config, endpoint_set=endpoint_set, phase="serving", engine=engine,
                      watched=0)  # fmt: skip
    return running, DnsWatcher(running, asyncio.Lock())  # type: ignore[arg-type]


def shown(running: Running) -> list[tuple[str, str]]:
    return [(a.url, a.where) for a in running.endpoint_set.addresses()]


# ---------------------------------------------------------------- one address


async def test_a_name_that_moved_is_followed_new_before_old(resolver, logged):
    running, names = await started(f'"{URL}"')
    resolver.answers = ["10.0.0.2"]
    await names.refresh(0)
    assert shown(running) == [(URL, "10.0.0.2")]
    assert running.engine.log == ["+0", "+1", "-0"]
    assert logged == [f"{URL} is at 10.0.0.2 now"]
    assert running.watched == 1


async def test_of_several_upstreams_only_that_of_the_name_moves_and_the_routes_stay(resolver):
    config = parse_config(
        '[[upstream]]\nname = "a"\nendpoints = ["http://other.example:1"]\nmodels = ["m"]\n'
        f'[[upstream]]\nname = "b"\nendpoints = ["{URL}"]\n'
    )
    engine = Engine()
    endpoint_set = EndpointSet(engine)  # type: ignore[arg-type]
    fill(endpoint_set, config, await resolve_all(config))
    routes, engine.routes = engine.routes, None
    running = Running(config=config, endpoint_set=endpoint_set, phase="serving", engine=engine,
                      watched=0)  # fmt: skip
    resolver.answers = ["10.0.0.2"]
    await DnsWatcher(running, asyncio.Lock()).refresh(1)  # type: ignore[arg-type]
    assert shown(running) == [("http://other.example:1", "10.0.0.1"), (URL, "10.0.0.2")]
    assert engine.log == ["+0", "+1", "+2", "-1"]
    assert engine.routes == routes == ([Route(model="m", upstream=0)], 1)


async def test_a_resolver_that_rotates_moves_nobody(resolver, logged):
    resolver.answers = ["10.0.0.1", "10.0.0.2"]
    running, names = await started(f'"{URL}"')
    resolver.answers = ["10.0.0.2", "fd00::1", "10.0.0.1"]
    await names.refresh(0)
    assert shown(running) == [(URL, "10.0.0.1")]
    assert (running.engine.log, logged, running.watched) == (["+0"], [], 0)


async def test_a_name_that_comes_back_gets_its_slot_again(resolver):
    running, names = await started(f'"{URL}"')
    for ip in ("10.0.0.2", "10.0.0.1"):
        resolver.answers = [ip]
        await names.refresh(0)
    assert running.engine.live == [0]


async def test_a_failure_keeps_the_address_and_is_logged_once(resolver, logged):
    running, names = await started(f'"{URL}"')
    resolver.answers = OSError(-2, "Name or service not known")
    for _ in range(3):
        await names.refresh(0)
    assert shown(running) == [(URL, "10.0.0.1")]
    (line,) = logged
    assert "cannot resolve vllm.example: Name or service not known" in line
    resolver.answers = ["10.0.0.1"]
    for _ in range(2):
        await names.refresh(0)
    assert logged[1:] == [f"{URL} can be resolved again"]


async def test_an_answer_without_addresses_is_a_failure(resolver, logged):
    running, names = await started(f'"{URL}"')
    resolver.answers = []
    await names.refresh(0)
    assert shown(running) == [(URL, "10.0.0.1")]
    assert "has no address" in logged[0]


async def test_four_before_six_and_none_twice(resolver):
    resolver.answers = ["fd00::1", "10.0.0.9", "fd00::1", "10.0.0.9"]
    assert [a.where for a in await resolve_each(URL)] == ["10.0.0.9", "fd00::1"]
    assert [a.base for a in await resolve_each(URL)] == [
        "http://10.0.0.9:8000", "http://[fd00::1]:8000",
    ]  # fmt: skip


async def test_a_configuration_put_in_force_meanwhile_wins(resolver):
    running, names = await started(f'"{URL}"')
    resolver.answers = ["10.0.0.2"]
    async with names._lock:
        looking = asyncio.ensure_future(names.refresh(0))
        await until(lambda: resolver.asked == 2)
        running.config = config_of(f'"{URL}"')
    await looking
    assert shown(running) == [(URL, "10.0.0.1")]


# ---------------------------------------------------------------- all addresses


async def test_with_expand_every_address_is_an_endpoint_of_its_own(resolver, logged):
    resolver.answers = ["10.0.0.1", "10.0.0.2"]
    running, names = await started(f'{{ url = "{URL}", expand = true }}')
    assert shown(running) == [(f"{URL}#10.0.0.1", "10.0.0.1"), (f"{URL}#10.0.0.2", "10.0.0.2")]
    assert {a.authority for a in running.endpoint_set.addresses()} == {b"vllm.example:8000"}
    resolver.answers = ["10.0.0.3", "10.0.0.2"]
    await names.refresh(0)
    assert [where for _, where in shown(running)] == ["10.0.0.2", "10.0.0.3"]
    assert running.engine.log == ["+0", "+1", "+2", "-0"]
    assert logged == [f"{URL} is at 10.0.0.2, 10.0.0.3 now"]


async def test_expand_that_is_switched_on_is_looked_up(resolver):
    running, _ = await started(f'"{URL}"')
    resolver.answers = ["10.0.0.1", "10.0.0.2"]
    config = config_of(f'{{ url = "{URL}", expand = true }}')
    running.endpoint_set.change(config, await resolve_all(config, running.endpoint_set.known()))
    assert len(shown(running)) == 2


async def test_without_a_ttl_a_name_that_fails_at_the_start_is_an_error(resolver):
    resolver.answers = OSError(-2, "no")
    with pytest.raises(ConfigError, match=r"cannot resolve vllm\.example"):
        await resolve_all(config_of(f'"{URL}"', ttl=0.0))


# ---------------------------------------------------------------- nowhere


def run_of(config, endpoint_set) -> Running:
    return Running(config=config, endpoint_set=endpoint_set, phase="serving", watched=0)


@pytest.mark.parametrize("expand", [False, True])
async def test_a_name_that_fails_starts_out_of_rotation_and_comes_when_it_is_found(
    resolver, expand, logged
):
    resolver.answers = OSError(-2, "no")
    name = f'{{ url = "{URL}", expand = {str(expand).lower()} }}'
    config = config_of(name, '"http://10.9.9.9:1"')
    resolver.known = {"10.9.9.9": ["10.9.9.9"]}
    endpoint_set = EndpointSet(Engine())  # type: ignore[arg-type]
    fill(endpoint_set, config, await resolve_all(config))
    assert logged == [f"{URL}: cannot resolve vllm.example: no; it is out of rotation "
                    "and looked up again every 30 s"]  # fmt: skip
    logged.clear()
    running = run_of(config, endpoint_set)
    names = DnsWatcher(running, asyncio.Lock())  # type: ignore[arg-type]
    assert shown(running) == [("http://10.9.9.9:1", "10.9.9.9")]
    assert endpoint_set.unresolved(config) == [URL]
    await names.refresh(0)
    assert (logged, running.watched) == ([], 0), "nothing has changed"
    resolver.answers = ["10.0.0.1"]
    await names.refresh(0)
    assert logged == [f"{URL} is at 10.0.0.1 now"]
    assert shown(running)[0] == (f"{URL}#10.0.0.1" if expand else URL, "10.0.0.1")
    assert endpoint_set.unresolved(config) == []


async def test_of_several_upstreams_one_may_be_nowhere_while_another_moves(resolver):
    config = parse_config(
        f'[[upstream]]\nname = "a"\nendpoints = ["{URL}"]\nmodels = ["m"]\n'
        '[[upstream]]\nname = "b"\nendpoints = ["http://other.example:1"]\n'
    )
    resolver.answers = OSError(-2, "no")
    endpoint_set = EndpointSet(Engine())  # type: ignore[arg-type]
    fill(endpoint_set, config, await resolve_all(config))
    running = run_of(config, endpoint_set)
    resolver.answers = ["10.0.0.2"]
    await DnsWatcher(running, asyncio.Lock()).refresh(1)  # type: ignore[arg-type]
    assert shown(running) == [("http://other.example:1", "10.0.0.2")]
    assert endpoint_set.unresolved(config) == [URL]


async def test_a_name_that_comes_to_mean_the_proxy_itself_is_not_followed(resolver, logged):
    config = config_of(f'"{URL}"')
    endpoint_set = EndpointSet(Engine(), is_own=lambda at: at.where == "10.0.0.2")  # type: ignore[arg-type]
    fill(endpoint_set, config, await resolve_all(config))
    running = run_of(config, endpoint_set)
    resolver.answers = ["10.0.0.2"]
    await DnsWatcher(running, asyncio.Lock()).refresh(0)  # type: ignore[arg-type]
    assert shown(running) == [(URL, "10.0.0.1")]
    assert "10.0.0.2 is this proxy's own listener" in logged[0]


# ---------------------------------------------------------------- when


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("http://vllm:8000", True),
        ("http://vllm.default.svc.cluster.local", True),
        ("http://127.0.0.1:1", False),
        ("http://[::1]:1", False),
        ("http://localhost:8000", False),
        ("http://a.localhost:8000", False),
        ("unix:/run/x.sock", False),
    ],
)
def test_only_names_are_looked_up_again(url, answer):
    assert is_name(url) is answer
    assert bool(interval(config_of(f'"{url}"').upstream[0])) is answer


async def test_without_a_ttl_no_timer_runs(resolver):
    running, names = await started(f'"{URL}"')
    names.watch(running.config)
    (task,) = [task for _, task in names._tasks.values()]
    names.watch(running.config)
    assert [task for _, task in names._tasks.values()] == [task]
    names.watch(config_of(f'"{URL}"', ttl=0.0))
    assert names._tasks == {}
    await names.stop()


async def test_names_are_looked_up_as_often_as_it_says(resolver):
    running, names = await started(f'"{URL}"')
    resolver.answers = ["10.0.0.2"]
    names.watch(config_of(f'"{URL}"', ttl=0.001))
    await until(lambda: shown(running) == [(URL, "10.0.0.2")])
    asked = resolver.asked
    await until(lambda: resolver.asked > asked)
    await names.stop()


# ---------------------------------------------------------------- drained


async def test_a_name_that_is_drained_stays_so_wherever_it_moves(resolver):
    running, names = await started(f'"{URL}"')
    assert running.endpoint_set.drain(URL, True) == [0]
    resolver.answers = ["10.0.0.2"]
    await names.refresh(0)
    assert running.engine.drained == {0: True, 1: True}
    assert running.endpoint_set.drain(URL, False) == [1]
    resolver.answers = ["10.0.0.3"]
    await names.refresh(0)
    assert running.engine.drained == {0: True, 1: False}


async def test_with_expand_all_addresses_are_drained_by_the_url_of_the_configuration(resolver):
    resolver.answers = ["10.0.0.1", "10.0.0.2"]
    running, names = await started(f'{{ url = "{URL}", expand = true }}', '"http://10.9.9.9:1"')
    assert running.endpoint_set.drain(URL, True) == [0, 1]
    assert running.endpoint_set.drain(f"{URL}#10.0.0.1", True) == []
    resolver.answers = ["10.0.0.1", "10.0.0.2", "10.0.0.4"]
    await names.refresh(0)
    assert running.engine.drained == {0: True, 1: True, 3: True}


async def test_an_endpoint_that_was_taken_out_comes_back_undrained(resolver):
    running, _ = await started(f'"{URL}"', '"http://10.9.9.9:1"')
    running.endpoint_set.drain(URL, True)
    for endpoints in (['"http://10.9.9.9:1"'], [f'"{URL}"', '"http://10.9.9.9:1"']):
        config = config_of(*endpoints)
        running.endpoint_set.change(config, await resolve_all(config, running.endpoint_set.known()))
    assert running.engine.drained == {0: True}
