"""`zeroproxy status`, `reload` and `drain`: one question to a running proxy.

Exit status: 0; 1 if it is not ready, does not answer or fails; 2 if it refuses the configuration.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import Any

import orjson
from rich.console import Console

from zeroproxy.commands import admin_client
from zeroproxy.commands.admin_client import AdminError, client_of
from zeroproxy.commands.status_table import endpoints_table, summary
from zeroproxy.errors import UsageError

WIDE = 1000  # columns of a pipe: each endpoint stays on one line


def add_status_arguments(parser: argparse.ArgumentParser) -> None:
    admin_client.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="/status as it is")


def add_drain_arguments(parser: argparse.ArgumentParser) -> None:
    admin_client.add_arguments(parser)
    parser.add_argument("--endpoint", metavar="URL", help="only this endpoint; else the proxy")
    parser.add_argument("--undo", action="store_true", help="send the endpoint requests again")


async def status_of(client: admin_client.AdminClient) -> tuple[dict[str, Any], dict[str, Any]]:
    """/status and /readyz."""
    found, ready = await asyncio.gather(client.ask("GET", "/status"), client.ask("GET", "/readyz"))
    return found, ready


def status(args: argparse.Namespace) -> int:
    client = client_of(args)
    found, ready = asyncio.run(status_of(client))
    if args.json:
        sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")
        return 0
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE
    console.print(summary(found))
    console.print(endpoints_table(found))
    for reason in ready["reasons"]:
        console.print(f"not ready: {reason}", style="red", markup=False)
    return 0 if ready["ready"] else 1


def reload(args: argparse.Namespace) -> int:
    try:
        found = asyncio.run(client_of(args).ask("POST", "/-/reload"))
    except AdminError as error:
        if error.status not in (400, 422):
            raise
        print(f"zeroproxy: not reloaded: {error}", file=sys.stderr)
        return 2
    changed = found["changed"]
    print(f"reloaded: {', '.join(changed)} changed" if changed else "reloaded: nothing changed")
    return 0


def drain(args: argparse.Namespace) -> int:
    client = client_of(args)
    if not args.endpoint:
        if args.undo:
            raise UsageError("drain --undo: is for one --endpoint; a proxy that drains will exit")
        asyncio.run(client.ask("POST", "/-/drain"))
        print("the proxy drains and exits")
        return 0
    on = "false" if args.undo else "true"
    found = asyncio.run(client.ask("POST", "/-/endpoint", url=args.endpoint, drain=on))
    if args.undo:
        print(f"{found['url']} gets requests again")
    else:
        print(f"{found['url']} gets no new requests; {found['inflight']} are in flight there")
    return 0
