"""A reverse proxy as one writes it with aiohttp in an afternoon, honestly. It has uvloop and pooled
conns, passes bodies and answers on as they come, drops hop-by-hop fields, and logs nothing.

usage: aiohttp_proxy.py --listen HOST:PORT --upstream HOST:PORT
"""

import argparse
import asyncio
import signal

import aiohttp
import uvloop
from aiohttp import web
from multidict import CIMultiDict

HOP = ("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host")


def passed_on(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    """Without what belongs to one hop; aiohttp frames anew."""
    found = headers.copy()
    for name in HOP:
        found.popall(name, None)
    return found


class Proxy:
    """One upstream."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream

    async def __aenter__(self) -> "Proxy":
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=3600),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One exchange."""
        url = f"http://{self.upstream}{request.path_qs}"
        data = request.content if request.body_exists else None
        headers = passed_on(request.headers)
        async with self.session.request(
            request.method, url, headers=headers, data=data, allow_redirects=False
        ) as answer:
            response = web.StreamResponse(
                status=answer.status, reason=answer.reason, headers=passed_on(answer.headers)
            )
            await response.prepare(request)
            async for part in answer.content.iter_any():
                await response.write(part)
            await response.write_eof()
            return response


async def serve(listen: str, upstream: str) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    host, _, port = listen.rpartition(":")
    async with Proxy(upstream) as proxy:
        server = web.Server(proxy.handle, access_log=None, keepalive_timeout=3600)
        runner = web.ServerRunner(server)
        await runner.setup()
        await web.TCPSite(runner, host, int(port), backlog=65535).start()
        await stop.wait()
        await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True)
    parser.add_argument("--upstream", required=True)
    options = parser.parse_args()
    uvloop.run(serve(options.listen, options.upstream))
