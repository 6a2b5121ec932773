"""TLS end to end: real clients in front, a TLS server behind, certificates that change."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from contextlib import asynccontextmanager

import aiohttp
import openai
import pytest
from aiohttp import web

from tests.support.certificates import certificates
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.until import until
from zeroproxy.commands.check import examine
from zeroproxy.config.load import parse_config
from zeroproxy.embed import Proxy
from zeroproxy.errors import TlsError


def server_tls(pair, client_ca=""):
    return f'[server.tls]\ncert = "{pair.cert}"\nkey = "{pair.key}"\nclient_ca = "{client_ca}"\n'


@pytest.fixture
def proxy(sim):
    with ProxyProcess(upstream_toml(sim.url), server=server_tls(certificates().server)) as process:
        yield process
        process.until_quiet()


def https(process):
    return process.url.replace("http://", "https://")


async def test_the_official_client_speaks_to_it_with_an_authority_of_ones_own(proxy):
    trust = certificates().authority.client()
    async with openai.AsyncOpenAI(
        base_url=f"{https(proxy)}/v1", api_key="x", max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(verify=trust),
    ) as client:  # fmt: skip
        said = await client.chat.completions.create(
            model="sim-1", messages=[{"role": "user", "content": "hello"}]
        )
        assert said.choices[0].message.content
        parts = [
            part
            async for part in await client.chat.completions.create(
                model="sim-1", messages=[{"role": "user", "content": "hello"}], stream=True
            )
        ]
        assert len(parts) > 2
    status = proxy.status()
    assert status["listen"] == [https(proxy)]
    assert status["tls"]["handshakes"]["downstream"] >= 1
    assert status["tls"]["expires"] > 0


async def test_a_client_that_does_not_know_the_authority_refuses(proxy):
    with pytest.raises(openai.APIConnectionError):
        async with openai.AsyncOpenAI(
            base_url=f"{https(proxy)}/v1", api_key="x", max_retries=0
        ) as client:
            await client.models.list()
    # Some clients send an alert, some only close.
    await until(lambda: any(proxy.status()["tls"]["failures"]["downstream"].values()))


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl command")
def test_renegotiation_is_not_possible(proxy):
    """R requests it; the proxy refuses, and the conn is over or goes on as it was."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.port}", "-tls1_2",
         "-CAfile", certificates().authority.ca],
        input=b"R\n", capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert b"RENEGOTIATING" in done.stderr
    assert b"no renegotiation" in done.stderr.lower()
    assert proxy.status()["tls"]["handshakes"]["downstream"] == 1


def common_name(port):
    with socket.create_connection(("127.0.0.1", port)) as sock:
        context = certificates().authority.client()
        with context.wrap_socket(sock, server_hostname="a.test") as tls:
            return dict(tls.getpeercert()["subject"][0])["commonName"]


async def test_renewed_files_count_from_the_next_reload(sim, tmp_path):
    c = certificates()
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    shutil.copy(c.server.cert, cert)
    shutil.copy(c.server.key, key)
    tls = f'[server.tls]\ncert = "{cert}"\nkey = "{key}"\n'
    with ProxyProcess(upstream_toml(sim.url), server=tls) as process:
        assert common_name(process.port) == "server"
        shutil.copy(c.renewed.cert, cert)
        os.kill(process.pid, signal.SIGHUP)
        await until(lambda: "not reloaded: server.tls.key" in process.errors.read_text())
        assert "key values mismatch" in process.errors.read_text()
        assert common_name(process.port) == "server"
        shutil.copy(c.renewed.key, key)
        os.kill(process.pid, signal.SIGHUP)
        await until(lambda: "reloaded: server.tls changed" in process.errors.read_text())
        assert common_name(process.port) == "renewed"
        assert "PRIVATE KEY" not in process.errors.read_text()


# ---------------------------------------------------------------- behind


@asynccontextmanager
async def origin(pair, client_ca=""):
    """An aiohttp server over TLS that answers like an inference server."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"path": request.path, "size": len(await request.read())})

    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    context = pair.server(client_ca=client_ca)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield f"https://localhost:{runner.addresses[0][1]}"
    await runner.cleanup()


def config(url, tls=""):
    return parse_config(
        '[server]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = "127.0.0.1:0"\n[metering]\n'
        f'ledger = ""\n[[upstream]]\nname = "u"\nendpoints = ["{url}"]\n'
        f"retry = {{ attempts = 1 }}\nhealth = {{ interval = 0.05 }}\n{tls}\n"
    )


def trusting(**words):
    words = {"ca": certificates().authority.ca, **words}
    return f"tls = {{ {', '.join(f'{k} = {chr(34)}{v}{chr(34)}' for k, v in words.items())} }}"


async def ready_reasons(session, proxy):
    async with session.get(f"{proxy.admin_url}/readyz") as response:
        return response.status, await response.text()


async def test_an_https_endpoint_is_reached_and_found_well():
    c = certificates()
    async with (
        origin(c.server, client_ca=c.authority.ca) as url,
        Proxy(config(url, trusting(cert=c.caller.cert, key=c.caller.key))) as proxy,
        aiohttp.ClientSession() as session,
    ):
        async with session.post(
            f"{proxy.listen[0]}/v1/completions", data=b"z" * 300_000
        ) as response:
            assert await response.json() == {"path": "/v1/completions", "size": 300_000}
        async with asyncio.timeout(20):
            while (await ready_reasons(session, proxy))[0] != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_an_endpoint_that_is_not_believed_is_out_and_the_reason_is_said():
    async with (
        origin(certificates().unknown) as url,
        Proxy(config(url, trusting())) as proxy,
        aiohttp.ClientSession() as session,
    ):
        async with session.get(f"{proxy.listen[0]}/v1/models") as response:
            assert response.status in (502, 503)
        async with asyncio.timeout(20):
            said = ""
            while "certificate is not accepted" not in said:
                said = (await ready_reasons(session, proxy))[1]


async def test_check_says_until_when_the_certificate_is_good_and_whom_it_cannot_trust():
    c = certificates()
    async with origin(c.unknown) as url:
        text = (
            f'[server]\nlisten = "127.0.0.1:0"\n{server_tls(c.server)}'
            f'[admin]\nlisten = ""\n[metering]\nledger = ""\n'
            f'[[upstream]]\nname = "u"\nendpoints = ["{url}"]\n{trusting()}\n'
        )
        found = await examine(parse_config(text))
        says = {what: (state, text) for what, state, text in found.rows}
        assert says["server.tls"][0] == "warning" and "expires on" in says["server.tls"][1]
        assert "certificate is not accepted" in says["upstream u"][1]
        assert found.errors == 0
        found = await examine(parse_config(text.replace(c.server.key, c.renewed.key)))
        assert found.errors == 1


async def test_files_of_tls_that_are_missing_keep_the_proxy_from_starting(tmp_path):
    text = f'tls = {{ ca = "{tmp_path / "none.pem"}" }}'
    with pytest.raises(TlsError, match=r"upstream\[0\]\.tls\.ca: .*none\.pem"):
        await Proxy(config("https://localhost:1", text)).start()
