"""One request to an endpoint, over a connection of its own.

Never over a pooled one: the question is whether a new connection is served, and an endpoint that
has stopped holds the old ones open.
"""

from __future__ import annotations

import errno
import logging
import os
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
from yarl import URL

from zeroproxy.policy.socket_addresses import Address
from zeroproxy.policy.tls import reason
from zeroproxy.tasks import within

log = logging.getLogger(__name__)

PAGE_MAX = 4 << 20  # bytes of an answer that are read
CLOSED = "the connection was closed without an answer"


async def get_status(address: Address, path: str, timeout: float) -> int:
    """Status of GET `path`; 0: the answer is no valid HTTP. Raises OSError where none came, and
    TimeoutError."""
    return await within(timeout, read_status(address, path))


async def read_status(address: Address, path: str) -> int:
    # The whole URL: a path that begins with "//" would be taken for a host.
    url = URL(address.base + path, encoded=True)
    try:
        async with (
            session_for(address, None) as session,
            session.get(
                url,
                headers={"Connection": "close"},
                allow_redirects=False,
                server_hostname=address.server_name,
            ) as response,
        ):
            return response.status
    except OSError:
        raise
    except aiohttp.ServerDisconnectedError:
        raise ConnectionError(CLOSED) from None
    except aiohttp.ClientError:
        return 0


#: Errors for lack of something of ours. They prove nothing of an endpoint.
OUR_LACKS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
OUR_LACK = "the proxy itself cannot probe: "
LACK_EVERY = 60.0


class OwnLack:
    """Logs, once in LACK_EVERY seconds, that probes fail for lack of something of ours."""

    def __init__(self) -> None:
        self._logged_at = -LACK_EVERY

    def is_it(self, wrong: str) -> bool:
        """True where `wrong`, of why(), is no fault of the endpoint."""
        if not wrong.startswith(OUR_LACK):
            return False
        if time.monotonic() - self._logged_at >= LACK_EVERY:
            self._logged_at = time.monotonic()
            log.warning(wrong)
        return True


def why(error: OSError) -> str:
    """The reason of a failure, for people."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if error.errno in OUR_LACKS and not isinstance(error, ssl.SSLError):
        return f"{OUR_LACK}{os.strerror(error.errno)}"
    # An SSLError has an errno too, which means nothing.
    return reason(error) or (os.strerror(error.errno) if error.errno else str(error))


def connector_for(address: Address) -> aiohttp.BaseConnector:
    if isinstance(address.target, str):
        return aiohttp.UnixConnector(address.target)
    return aiohttp.TCPConnector(ssl=address.context or True)


def headers_for(address: Address, api_key: str = "") -> dict[str, str]:
    bearer = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    return {"Host": address.authority.decode("latin-1"), **bearer}


@asynccontextmanager
async def session_for(
    address: Address, timeout: float | None, api_key: str = ""
) -> AsyncIterator[aiohttp.ClientSession]:
    """A session for one address. `timeout` of each request; None: the caller has one of its own."""
    connector = connector_for(address)
    session = aiohttp.ClientSession(
        address.base,
        headers=headers_for(address, api_key),
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=timeout),
        trust_env=False,
    )
    try:
        yield session
    finally:
        # Without waiting for the other end's half of the TLS goodbye.
        await connector.close(abort_ssl=True)
        session.detach()


async def read_page(response: aiohttp.ClientResponse) -> bytes:
    """The body to its end, or its first PAGE_MAX bytes: one `read` gives what has arrived."""
    body = bytearray()
    while len(body) < PAGE_MAX and (part := await response.content.read(PAGE_MAX - len(body))):
        body += part
    return bytes(body)


async def get_page(address: Address, path: str, timeout: float, api_key: str = "") -> bytes | None:
    """The body of a 200; None: there is none to be had."""
    try:
        return await within(timeout, read_ok(address, path, api_key))
    except (OSError, TimeoutError, aiohttp.ClientError):
        return None


async def read_ok(address: Address, path: str, api_key: str) -> bytes | None:
    async with (
        session_for(address, None, api_key) as session,
        session.get(path, allow_redirects=False, server_hostname=address.server_name) as response,
    ):
        return await read_page(response) if response.status == 200 else None


async def first_model(session: aiohttp.ClientSession, server_name: str | None) -> str:
    async with session.get(
        "/v1/models", allow_redirects=False, server_hostname=server_name
    ) as response:
        body = await read_page(response)
    try:
        return str(orjson.loads(body)["data"][0]["id"])
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        return ""


async def generate_one(
    address: Address, timeout: float, api_key: str = "", fields: Mapping[str, str] | None = None
) -> int:
    """Status of a request for a single token of the first model; 0: no answer in time. `fields`:
    more header fields."""
    try:
        return await within(timeout, post_one(address, api_key, fields))
    except (OSError, TimeoutError, aiohttp.ClientError):
        return 0


async def post_one(address: Address, api_key: str, fields: Mapping[str, str] | None = None) -> int:
    async with session_for(address, None, api_key) as session:
        request_body: dict[str, Any] = {
            "model": await first_model(session, address.server_name),
            "messages": [{"role": "user", "content": "1"}],
            "max_tokens": 1,
        }
        async with session.post(
            "/v1/chat/completions",
            json=request_body,
            headers=fields,
            server_hostname=address.server_name,
        ) as response:
            await read_page(response)
            return response.status
