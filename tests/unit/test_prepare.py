"""A start is a reload from nothing: both take the steps of server/apply_config.py."""

import socket
from typing import Any

import pytest

from tests.support.running import Running, from_nothing
from zeroproxy.config.load import parse_config
from zeroproxy.errors import ConfigError, ListenError, ReloadError, TlsError
from zeroproxy.server import apply_config as module
from zeroproxy.server.apply_config import prepare, put_in_force
from zeroproxy.server.reload import Reloader
from zeroproxy.server.worker import Worker

ONE = """
[[upstream]]
name = "u"
endpoints = ["http://127.0.0.1:1", "http://127.0.0.1:2"]
[[auth.key]]
sha256 = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
"""
TWO = """
[limits]
connections = 7
[server]
via = false
[[upstream]]
name = "u"
endpoints = ["https://127.0.0.1:2", { url = "http://127.0.0.1:3", weight = 3 }]
tls = { verify = false }
balance = "fastest"
models = [{ name = "mine", serves = "theirs" }]
api_key_file = "FILE"
[auth]
keys_file = "KEYS"
"""


def in_force(running: Running) -> dict[str, Any]:
    found = running.engine.snapshot()
    for upstream in found["upstreams"]:
        for endpoint in upstream["endpoints"]:
            del endpoint["index"]  # slots are never used for another
    shown = {name: found[name] for name in ("upstreams", "auth", "tls")}
    urls = [(a.url, a.where, a.client_tls is not None) for a in running.endpoint_set.addresses()]
    return {
        **shown,
        "limit": found["connections"]["limit"],
        "keys": set(running.keys),
        "urls": urls,
    }


@pytest.fixture
def two(tmp_path):
    (tmp_path / "key").write_text("secret\n")
    (tmp_path / "keys.toml").write_text(f'[[key]]\nsha256 = "{"a" * 64}"\ntenant = "t"\n')
    text = TWO.replace("FILE", str(tmp_path / "key")).replace("KEYS", str(tmp_path / "keys.toml"))
    return parse_config(text)


async def test_a_start_leaves_what_a_reload_leaves(two):
    started = from_nothing(two)
    put_in_force(started, await prepare(two))
    reloaded = from_nothing(parse_config(ONE))
    first = await prepare(parse_config(ONE))
    assert first.changed == [], "against nothing"
    put_in_force(reloaded, first)
    new = await prepare(two, reloaded.config, reloaded.endpoint_set.known())
    assert set(new.changed) == {
        "auth.key", "limits.connections", "server.via", "upstream[0].api_key",
        "upstream[0].balance", "upstream[0].endpoints", "upstream[0].models",
        "upstream[0].tls.verify",
    }  # fmt: skip
    assert put_in_force(reloaded, new) == ["upstream[0].tls"]
    assert in_force(started) == in_force(reloaded)
    assert started.config.upstream[0].api_key == "secret"
    for running in (started, reloaded):
        running.engine.close()


async def test_an_error_after_the_commit_is_no_refusal(monkeypatch, two):
    """A program that catches ReloadError takes the old configuration to be in force."""
    running = from_nothing(parse_config(ONE))
    put_in_force(running, await prepare(parse_config(ONE)))
    running.phase = "serving"

    def share_keys(_: dict[str, int]) -> None:
        raise TypeError("a fault of our own")

    monkeypatch.setattr(running, "share_keys", share_keys)
    with pytest.raises(TypeError):
        await Reloader(running, None).reload(two)
    assert in_force(running)["limit"] == 7
    running.engine.close()


async def test_the_steps_come_in_one_order_and_the_first_that_fails_ends_it(monkeypatch, two):
    """Files, packages, what differs, certificates, names: each may fail before the next."""
    done: list[str] = []

    def step(name: str, error: Exception | None, answer: Any = None) -> Any:
        def take(*_: Any) -> Any:
            done.append(name)
            if error is not None:
                raise error
            return answer

        return take

    async def names(*_: Any) -> list[Any]:
        step("names", None)()
        return []

    steps = {"resolve": ConfigError("x"), "plan": ReloadError("x"), "prepare_tls": TlsError("x")}
    monkeypatch.setattr(module, "resolve_all", names)
    for failing in (*steps, ""):
        for name, error in steps.items():
            answer = two if name == "resolve" else []
            monkeypatch.setattr(
                module, name, step(name, error if name == failing else None, answer)
            )
        done.clear()
        if failing:
            with pytest.raises(type(steps[failing])):
                await prepare(two, two)
            assert done == list(steps)[: list(steps).index(failing) + 1]
        else:
            await prepare(two, two)
            assert done == [*steps, "names"]


async def test_a_start_after_one_that_failed_reads_the_files_anew(tmp_path):
    key = tmp_path / "key"
    key.write_text("first")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        worker = Worker(parse_config(
            f'[server]\nlisten = "127.0.0.1:{port}"\n[admin]\nlisten = ""\n'
            f'[metering]\nledger = ""\n{ONE.partition("[[auth")[0]}api_key_file = "{key}"\n'
            'health = { path = "" }\n'
        ))  # fmt: skip
        with pytest.raises(ListenError):
            await worker.start()
    key.write_text("second")
    await worker.start()
    assert worker.config.upstream[0].api_key == "second"
    await worker.stop(0)
