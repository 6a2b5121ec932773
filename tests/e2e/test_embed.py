"""zeroproxy inside another asyncio program."""

import asyncio

import aiohttp
import pytest
import uvloop
from aiohttp import web

import zeroproxy
from zeroproxy.config.load import parse_config


def config(url: str, more: str = "") -> zeroproxy.Config:
    return parse_config(
        f'[server]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = "127.0.0.1:0"\n'
        f'[[upstream]]\nname = "u"\nendpoints = ["{url}"]\n{more}\n[metering]\nledger = ""\n'
    )


async def start_origin(name: str) -> tuple[web.AppRunner, str]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=f"{name} {request.path} {len(await request.read())}")

    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return runner, f"http://{host}:{port}"


async def play() -> None:
    first, first_url = await start_origin("first")
    second, second_url = await start_origin("second")
    async with (
        zeroproxy.Proxy(config(first_url)) as a,
        zeroproxy.Proxy(config(second_url)) as b,
        aiohttp.ClientSession() as session,
    ):
        for proxy, name in ((a, "first"), (b, "second")):
            (url,) = proxy.listen
            async with session.post(f"{url}/v1/completions", data=b"z" * 300_000) as response:
                assert await response.text() == f"{name} /v1/completions 300000"
            async with session.get(f"{proxy.admin_url}/status") as response:
                status = await response.json()
            assert [r["count"] for r in status["requests"]] == [1]
            async with session.get(f"{proxy.admin_url}/readyz") as response:
                assert response.status == 200
            async with session.get(f"{proxy.admin_url}/metrics") as response:
                assert 'status="200",upstream="u"' in await response.text()
        await session.close()
    await first.cleanup()
    await second.cleanup()


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_two_proxies_run_in_one_program_on_any_loop(factory):
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(play())


async def test_a_taken_port_is_a_sentence_and_leaves_nothing_open():
    origin, url = await start_origin("x")
    async with zeroproxy.Proxy(config(url)) as proxy:
        taken = proxy.listen[0].removeprefix("http://")
        with pytest.raises(zeroproxy.ListenError, match=taken):
            async with zeroproxy.Proxy(
                parse_config(
                    f'[server]\nlisten = ["127.0.0.1:0", "{taken}"]\n[admin]\nlisten = ""\n'
                    f'[[upstream]]\nname = "u"\nendpoints = ["{url}"]\n'
                )
            ):
                raise AssertionError("it must not start")
    await origin.cleanup()


async def test_leaving_the_block_lets_exchanges_finish():
    release = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        await release.wait()
        return web.Response(text="done")

    app = web.Application()
    app.router.add_post("/", slow)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    proxy = zeroproxy.Proxy(config(f"http://{host}:{port}"))
    await proxy.start()
    async with aiohttp.ClientSession() as session:
        asking = asyncio.ensure_future(session.post(proxy.listen[0]))
        while not proxy.snapshot()["upstreams"][0]["inflight"]:  # noqa: ASYNC110
            await asyncio.sleep(0)
        stopping = asyncio.ensure_future(proxy.stop())
        await asyncio.sleep(0)
        release.set()
        async with await asking as response:
            assert await response.text() == "done"
        assert await stopping == 0
    await runner.cleanup()


async def test_a_websocket_goes_through_with_its_close_code():
    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.data == "bye":
                await socket.close(code=4001, message=b"as asked")
            else:
                await socket.send_str(f"echo {message.data}")
        return socket

    app = web.Application()
    app.router.add_get("/v1/realtime", echo)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with (
        zeroproxy.Proxy(config(f"http://{host}:{port}")) as proxy,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{proxy.listen[0]}/v1/realtime") as socket,
    ):
        for text in ("a", "b" * 200_000):
            await socket.send_str(text)
            assert await socket.receive_str() == f"echo {text}"
        await socket.ping()
        await socket.send_str("bye")
        closing = await socket.receive()
        assert (closing.type, socket.close_code) == (aiohttp.WSMsgType.CLOSE, 4001)
    await runner.cleanup()


def test_a_handover_is_for_the_process_alone():
    text = (
        '[server]\nhandover = "unix:/tmp/h"\n'
        '[[upstream]]\nname = "u"\nendpoints = ["http://127.0.0.1:1"]\n'
    )
    with pytest.raises(zeroproxy.ConfigError, match=r"^server\.handover: is for `zeroproxy` as a "):
        zeroproxy.Proxy(parse_config(text))
