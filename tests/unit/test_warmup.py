"""Warm-up requests: policy/warmup_requests.py over a scripted server."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.endpoint_set import ActiveEndpoint
from tests.support.log_lines import LogLines
from tests.support.ports import free_port
from tests.support.script_upstream import ScriptConn, ScriptRequest, ScriptUpstream
from tests.support.until import until
from tests.support.ward import Engine
from zeroproxy.config.schema import Alias, Upstream, Warmup
from zeroproxy.policy.rotation import Rotation
from zeroproxy.policy.socket_addresses import resolve
from zeroproxy.policy.warmup_requests import Warmups, body_of

CHAT = "/v1/chat/completions"


@dataclass
class Server:
    """Lists `models`; answers POST with the next of `says`, the last one again and again. A status
    of 0 is silence."""

    models: Any = None
    says: list[int] = field(default_factory=lambda: [200])
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, request: ScriptRequest, conn: ScriptConn) -> None:
        status, body = 200, json.dumps(self.models).encode()
        if request.method == b"POST":
            self.asked.append(json.loads(request.body))
            status = self.says.pop(0) if len(self.says) > 1 else self.says[0]
            body = b'{"error": "no\\nsuch"}'
        elif self.models is None:
            status = 404
        if status:
            head = b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n"
            await conn.send(head % (status, len(body)))
            await conn.send(body)


def listing(*names: str) -> dict[str, Any]:
    return {"data": [{"id": name} for name in names]}


def upstream(*models: str | Alias, name: str = "u", **keys: Any) -> Upstream:
    return Upstream(
        name=name,
        endpoints=("http://127.0.0.1:1",),
        models=models,
        warmup=Warmup(**{"path": CHAT, **keys}),
    )


def is_cold(warmups: Warmups, index: int) -> bool:
    found = warmups.snapshot(index)
    return found is not None and found["state"] == "warming"


class Counted(Rotation):
    """The number of times that it was to decide anew."""

    reconsidered = 0

    def reconsider(self) -> None:
        self.reconsidered += 1
        super().reconsider()


class Bench:
    """A server, and Warmups that are to warm it."""

    def __init__(self, server: Server, unix: str = "") -> None:
        self.server = server
        self.log = LogLines()
        self.lines = self.log.messages
        self.rotation = Counted(Engine())
        self.warmups = Warmups(self.rotation)
        self.script = ScriptUpstream(server, unix)

    async def __aenter__(self) -> "Bench":
        self.log.__enter__()
        await self.script.__aenter__()
        self.member = ActiveEndpoint(0, await resolve(self.script.url))
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.warmups.stop()
        await self.script.__aexit__(*error)
        self.log.__exit__()

    def watch(self, *models: str | Alias, **keys: Any) -> None:
        self.warmups.watch([(upstream(*models, **keys), [self.member])])

    async def done(self) -> dict[str, Any]:
        await until(lambda: not is_cold(self.warmups, 0))
        found = self.warmups.snapshot(0)
        assert found is not None
        return found


# ---------------------------------------------------------------- what is asked


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "Hi"}]}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "Hi"}]}),
        ("/v1/messages?beta=true", {"messages": [{"role": "user", "content": "Hi"}]}),
        ("/v1/completions", {"prompt": "Hi"}),
        ("/completion", {"prompt": "Hi"}),
    ],
)
def test_the_body_is_what_the_path_takes(path, logged):
    plain = {"max_tokens": 1, "stream": False}
    assert body_of(Warmup(path=path), "m") == {"model": "m", **logged, **plain}
    assert body_of(Warmup(path=path), "") == {**logged, **plain}


async def test_each_configured_model_is_asked_by_the_servers_own_name():
    async with Bench(Server(models=listing("unasked"))) as bench:
        bench.watch("a", Alias(name="mine", serves="org/b"), prompt="x", max_tokens=3)
        assert (await bench.done())["state"] == "warm"
        asked = bench.server.asked
        assert [body["model"] for body in asked] == ["a", "org/b"]
        assert asked[0]["messages"][0]["content"] == "x"
        assert asked[0]["max_tokens"] == 3
        assert set(bench.warmups.snapshot(0)["seconds"]) == {"a", "org/b"}
        (line,) = bench.lines
        assert line.startswith(f"{bench.script.url} is warm: a 0.")


async def test_without_configured_models_the_servers_list_is_asked():
    async with Bench(Server(models=listing("a", "b"))) as bench:
        bench.watch()
        await bench.done()
        assert [body["model"] for body in bench.server.asked] == ["a", "b"]


@pytest.mark.parametrize("models", [None, [], {"data": 7}])
async def test_a_server_that_lists_nothing_gets_one_request_without_a_model(models):
    async with Bench(Server(models=models)) as bench:
        bench.watch()
        assert (await bench.done())["state"] == "warm"
        (body,) = bench.server.asked
        assert "model" not in body


async def test_a_unix_socket_is_warmed_too(tmp_path):
    async with Bench(Server(), unix=str(tmp_path / "s")) as bench:
        bench.watch("a")
        assert (await bench.done())["state"] == "warm"


async def test_without_a_path_nothing_is_asked():
    async with Bench(Server()) as bench:
        bench.watch("a", path="")
        assert not is_cold(bench.warmups, 0)
        assert bench.warmups.snapshot(0) is None
        assert bench.warmups.reasons() == []


# ---------------------------------------------------------------- not yet, and never


async def test_busy_and_broken_answers_are_asked_again_and_the_reason_is_told():
    async with Bench(Server(says=[503, 429, 200])) as bench:
        bench.watch("a")
        url = bench.script.url
        assert bench.warmups.reasons() == [f"{url}: its model is being warmed up"]
        logged = [f"{url}: a is being warmed up: POST {CHAT} returned 429"]
        await until(lambda: bench.warmups.reasons() == logged)
        assert (await bench.done())["state"] == "warm"
        assert len(bench.server.asked) == 3
        assert bench.warmups.reasons() == []
        assert bench.rotation.reconsidered == 1


async def test_an_endpoint_that_is_not_there_yet_is_waited_for(tmp_path, logged):
    warmups, path = Warmups(Rotation(Engine())), str(tmp_path / "s")
    warmups.watch([(upstream("a"), [ActiveEndpoint(0, await resolve(f"unix:{path}"))])])
    reasons = [f"unix:{path}: a is being warmed up: No such file or directory"]
    await until(lambda: warmups.reasons() == reasons)
    async with ScriptUpstream(Server(), path):
        warmups.begin_anew(0)
        await until(lambda: not is_cold(warmups, 0))
        assert "is warm" in logged[0]
        await warmups.stop()


async def test_a_refusal_ends_it_at_once_and_the_next_model_follows():
    async with Bench(Server(says=[404, 200])) as bench:
        bench.watch("a", "b")
        found = await bench.done()
        assert found["state"] == "failed"
        reason = f"a: POST {CHAT} returned 404: " + '{"error": "no\\nsuch"}'
        assert found["reason"] == reason
        assert list(found["seconds"]) == ["b"]
        assert bench.lines == [f"{bench.script.url} is used without a warm-up: {reason}"]
        assert bench.warmups.reasons() == []


async def test_who_never_answers_is_used_all_the_same_when_the_time_is_up():
    async with Bench(Server(says=[0])) as bench:
        bench.watch("a", timeout=0.2)
        found = await bench.done()
        assert found["state"] == "failed"
        assert found["reason"] == "a: no answer within 0.2 s"
        assert len(bench.server.asked) == 1, "one that computes is not asked twice"


# ---------------------------------------------------------------- which, and when


async def test_one_that_is_not_there_holds_nobody_up_where_another_is_warm():
    gone = ActiveEndpoint(1, await resolve(f"http://127.0.0.1:{free_port()}"))
    async with Bench(Server()) as bench:
        bench.warmups.watch([(upstream("a"), [bench.member, gone])])
        await until(lambda: not bench.warmups.reasons())
        assert is_cold(bench.warmups, 1)
        assert bench.warmups.snapshot(0)["state"] == "warm"


async def test_one_that_was_out_is_warmed_again():
    async with Bench(Server()) as bench:
        bench.watch("a")
        await bench.done()
        bench.warmups.begin_anew(0)
        assert is_cold(bench.warmups, 0)
        await bench.done()
        assert len(bench.server.asked) == 2


async def test_a_reload_warms_what_is_new_and_gives_up_what_is_gone():
    async with Bench(Server()) as one, Bench(Server(says=[0])) as other:
        one.watch("a")
        await one.done()
        new = ActiveEndpoint(1, other.member.address)
        one.warmups.watch([(upstream("a"), [one.member, new])])
        assert is_cold(one.warmups, 1)
        await until(lambda: other.server.asked)
        one.watch("a")
        assert one.warmups.snapshot(1) is None
        assert len(one.server.asked) == 1, "what stays is not warmed again"
        one.warmups.watch([(upstream("a"), [one.member, new])])
        await until(lambda: len(other.server.asked) == 2)
        one.warmups.watch([(upstream("a", path=""), [one.member, new])])
        assert not is_cold(one.warmups, 1)


async def test_switched_on_while_endpoints_serve_it_waits_for_the_next_that_comes():
    async with Bench(Server()) as bench:
        bench.watch("a", path="")
        bench.watch("a")
        assert not is_cold(bench.warmups, 0)
        bench.warmups.begin_anew(0)
        assert (await bench.done())["state"] == "warm"


async def test_nothing_runs_when_all_is_warm():
    async with Bench(Server()) as bench:
        before = len(asyncio.all_tasks())
        bench.watch("a")
        await bench.done()
        await until(lambda: len(bench.script.connections) == 1 and
                    bench.script.connections[0].ended)  # fmt: skip
        await until(lambda: len(asyncio.all_tasks()) <= before + 1)
