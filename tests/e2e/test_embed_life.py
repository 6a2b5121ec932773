"""A proxy inside of a program from its start to its end: twice, cancelled, drained, forked."""

import asyncio
import subprocess
import sys

import aiohttp
import pytest
from aiohttp import web

import zeroproxy
from zeroproxy.config.schema import Admin, Config, Server, Upstream
from zeroproxy.config.surface import Surface


def config(
    url: str = "http://127.0.0.1:1", listen: str = "127.0.0.1:0", admin: str = "",
    settle: float = 0.0,
) -> Config:  # fmt: skip
    return Config(
        upstream=[Upstream(name="u", endpoints=[url], surface=Surface(paths="all"))],
        server=Server(listen=listen, drain_settle=settle), admin=Admin(listen=admin),
    )  # fmt: skip


class Held:
    """An origin whose answer waits, and one request through a proxy that is held there."""

    async def __aenter__(self):
        self.release = asyncio.Event()

        async def slow(_: web.Request) -> web.Response:
            await self.release.wait()
            return web.Response(text="done")

        app = web.Application()
        app.router.add_get("/", slow)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = "http://{}:{}".format(*self.runner.addresses[0][:2])
        self.session = aiohttp.ClientSession()
        return self

    async def ask(self, proxy: zeroproxy.Proxy) -> asyncio.Task:
        asking = asyncio.ensure_future(self.session.get(proxy.listen[0]))
        while not proxy.snapshot()["upstreams"][0]["inflight"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return asking

    async def __aexit__(self, *_: object):
        await self.session.close()
        await self.runner.cleanup()


async def test_what_needs_a_running_proxy_says_so():
    proxy = zeroproxy.Proxy(config())
    with pytest.raises(RuntimeError, match=r"not running: start\(\) comes first"):
        proxy.snapshot()
    with pytest.raises(RuntimeError, match=r"not running: start\(\) comes first"):
        await proxy.reload(config())
    with pytest.raises(RuntimeError, match="not running"):
        await proxy.wait_stopped()
    assert await proxy.stop() == 0
    assert proxy.ready() == (False, ["the proxy is starting"])


async def test_a_second_start_is_refused_and_the_first_goes_on():
    async with zeroproxy.Proxy(config()) as proxy:
        with pytest.raises(RuntimeError, match="a Proxy is started once"):
            await proxy.start()
        assert proxy.snapshot()["phase"] == "serving"
    with pytest.raises(RuntimeError, match="a Proxy is started once"):
        await proxy.start()


async def test_a_start_that_failed_may_be_tried_again():
    async with zeroproxy.Proxy(config()) as first:
        taken = first.listen[0].removeprefix("http://")
        second = zeroproxy.Proxy(config(listen=taken))
        with pytest.raises(zeroproxy.ListenError):
            await second.start()
    await second.start()
    assert second.listen == [f"http://{taken}"]
    await second.stop()


async def test_drain_by_the_admin_stops_an_embedded_proxy():
    async with Held() as held:
        proxy = zeroproxy.Proxy(config(held.url, admin="127.0.0.1:0"))
        await proxy.start()
        asking = await held.ask(proxy)
        waiting = asyncio.ensure_future(proxy.wait_stopped())
        async with held.session.post(f"{proxy.admin_url}/-/drain") as response:
            assert response.status == 202
        while proxy.ready()[1] != ["the proxy is draining"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        held.release.set()
        async with await asking as response:
            assert await response.text() == "done"
        assert await waiting == 0
        assert proxy.ready() == (False, ["the proxy is stopped"])
        assert await proxy.stop() == 0


async def test_a_stop_that_is_cancelled_goes_on_and_the_next_counts_what_it_cuts():
    async with Held() as held:
        proxy = zeroproxy.Proxy(config(held.url))
        await proxy.start()
        asking = await held.ask(proxy)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(proxy.stop(), 0.05)
        assert proxy.ready() == (False, ["the proxy is draining"])
        assert await proxy.stop(0) == 1
        assert proxy.ready() == (False, ["the proxy is stopped"])
        with pytest.raises(aiohttp.ClientError):
            async with await asking as response:
                response.raise_for_status()
        held.release.set()


async def test_a_stop_settles_first_and_a_hurried_one_ends_that_too():
    async with Held() as held:
        proxy = zeroproxy.Proxy(config(held.url, settle=600.0))
        await proxy.start()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(proxy.stop(), 0.05)
        assert proxy.ready() == (False, ["the proxy is settling"])
        asking = await held.ask(proxy)  # the listener is open
        assert await proxy.stop(0) == 1
        with pytest.raises(aiohttp.ClientError):
            async with await asking as response:
                response.raise_for_status()
        held.release.set()
    again = zeroproxy.Proxy(config(settle=600.0))
    await again.start()
    assert await again.stop(0) == 0


async def test_a_stop_that_is_cancelled_may_also_end_well():
    async with Held() as held:
        proxy = zeroproxy.Proxy(config(held.url))
        await proxy.start()
        asking = await held.ask(proxy)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(proxy.stop(), 0.05)
        stopping = asyncio.ensure_future(proxy.stop(30))
        held.release.set()
        async with await asking as response:
            assert await response.text() == "done"
        assert await stopping == 0


def test_a_loop_that_ends_in_the_midst_of_a_stop_leaves_no_thread(tmp_path):
    """Tasks that asyncio.run cancels at its end release all the same."""
    import threading

    async def play() -> None:
        async with Held() as held:
            proxy = zeroproxy.Proxy(config(held.url))
            await proxy.start()
            await held.ask(proxy)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(proxy.stop(), 0.05)
            held.session = aiohttp.ClientSession() if held.session.closed else held.session

    before = set(threading.enumerate())
    asyncio.run(play())
    assert [t for t in set(threading.enumerate()) - before if "zeroproxy" in t.name] == []


FORK = r"""
import asyncio, os, socket, sys
import zeroproxy
from zeroproxy.config.schema import Admin, Config, Server, Upstream

def is_open(url):
    host, _, port = url.rpartition("/")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except ConnectionRefusedError:
        return False
    return True

async def main():
    proxy = zeroproxy.Proxy(Config(
        upstream=[Upstream(name="u", endpoints=["http://127.0.0.1:1"])],
        server=Server(listen="127.0.0.1:0"), admin=Admin(listen="127.0.0.1:0")))
    await proxy.start()
    urls = [*proxy.listen, proxy.admin_url]
    done, go = os.pipe()
    said, say = os.pipe()
    child = os.fork()
    if not child:
        for ask in (proxy.snapshot, proxy.ready):
            try:
                ask()
            except RuntimeError as error:
                os.write(say, (str(error) + "\n").encode())
        os.read(done, 1)
        os._exit(0)
    os.close(say)
    words = b""
    while words.count(b"\n") < 2:
        words += os.read(said, 1000)
    print(words.decode(), end="")
    print([is_open(url) for url in urls])
    await proxy.stop()
    print([is_open(url) for url in urls])
    os.write(go, b"x")
    os.waitpid(child, 0)

asyncio.run(main())
"""


def test_a_forked_child_gives_up_the_listeners_and_says_that_the_proxy_is_not_its_own():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK],
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    assert done.returncode == 0, done.stderr
    says = "the proxy runs in the process that started it, not in its fork"
    assert done.stdout.splitlines() == [says, says, "[True, True]", "[False, False]"]


async def test_after_the_stop_a_reload_is_refused_and_the_last_figures_can_be_read():
    async with zeroproxy.Proxy(config()) as proxy:
        pass
    with pytest.raises(zeroproxy.ReloadError, match="the proxy is stopped"):
        await proxy.reload(config())
    assert proxy.snapshot()["phase"] == "stopped"
