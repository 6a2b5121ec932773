"""Requests to the admin port of a running proxy, for the commands that look at it or steer it.

The port is that of --admin, else admin.listen of the configuration. Errors are sentences that name
the port. Tests: tests/e2e/test_admin_commands.py.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from zeroproxy.commands.source import source_of
from zeroproxy.config.check_addresses import bracketed, is_host_port, split_host_port
from zeroproxy.config.secret_files import secret_in
from zeroproxy.errors import UsageError, ZeroproxyError, one_line
from zeroproxy.policy.http_client import why

TIMEOUT = 10.0  # seconds of a request; a reload looks names up
TOKEN_VARIABLE = "ZEROPROXY_ADMIN__TOKEN"
#: Hosts to listen on that nobody can connect to by name.
ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


class AdminError(ZeroproxyError):
    """The answer of the admin port is an error. `status`: of HTTP, 0 without an answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--admin", metavar="ADDRESS",
        help="HOST:PORT or unix:/path of the admin port, instead of admin.listen",
    )  # fmt: skip
    parser.add_argument(
        "--token-file", metavar="FILE",
        help=f"holds the admin token; with --admin, where ${TOKEN_VARIABLE} has none",
    )  # fmt: skip


def base_of(address: str) -> tuple[str, str]:
    """(URL, path of the unix socket or "") of an address to listen on. Raises UsageError."""
    address = address.removeprefix("http://").rstrip("/")
    if address.startswith("unix:"):
        return "http://localhost", address.removeprefix("unix:")
    if not is_host_port(address):
        raise UsageError(f'--admin: "{address}" is no address: HOST:PORT or unix:/path')
    host, port = split_host_port(address)
    return f"http://{bracketed(ANY.get(host, host))}:{port}", ""


@dataclass(frozen=True)
class AdminClient:
    """One admin port. `url` without a path; `socket`: of a unix listener, or empty."""

    url: str
    socket: str = ""
    token: str = ""

    @property
    def name(self) -> str:
        return f"unix:{self.socket}" if self.socket else self.url

    async def ask(self, method: str, path: str, **query: str) -> Any:
        """The JSON of an answer. Raises AdminError."""
        connector = aiohttp.UnixConnector(self.socket) if self.socket else aiohttp.TCPConnector()
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.request(method, self.url + path, params=query, headers=headers) as response,
            ):
                body = await response.read()
                status = response.status
        except TimeoutError:
            raise AdminError(f"{self.name}: no answer within {TIMEOUT:g} s") from None
        except (OSError, aiohttp.ClientError) as error:
            text = why(error) if isinstance(error, OSError) else str(error)
            raise AdminError(f"{self.name}: no admin port answers: {text}") from None
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise AdminError(f"{self.name}: no admin port answers: {status} without JSON") from None
        if status >= 400 and "error" in found:
            raise AdminError(f"{self.name}: {one_line(found['error']['message'])}", status)
        return found


def client_of(args: argparse.Namespace) -> AdminClient:
    """The port that the options name. Raises ConfigError or UsageError."""
    if args.admin:
        token = os.environ.get(TOKEN_VARIABLE, "")
        if args.token_file:
            token = secret_in(args.token_file, "--token-file")
        return AdminClient(*base_of(args.admin), token)
    source = source_of(args)
    if source is None:
        raise UsageError(f"{args.command}: -c FILE or --admin ADDRESS is needed")
    admin = source.load_admin()
    if not admin.listen:
        raise UsageError(f"{one_line(source.path)}: admin.listen is empty: there is no admin port")
    token = secret_in(admin.token_file, "admin.token_file") if admin.token_file else admin.token
    return AdminClient(*base_of(admin.listen), token)
