"""`zeroproxy key`: a new API key, shown once, and the lines that let it in."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import secrets

from zeroproxy.errors import ZeroproxyError

PREFIX = "zp-"
BYTES = 32  # of chance: nobody guesses it, so a plain SHA-256 may be kept


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--name", default="", help="how it is called in /status and metrics")
    add("--tenant", default="", help="whose usage it is")
    add("--model", action="append", default=[], help="one it may ask for; none: all")
    add("--rpm", type=int, default=0, metavar="N", help="requests per minute")
    add("--tpm", type=int, default=0, metavar="N", help="tokens per minute")
    add("--in-file", action="store_true", help="for auth.keys_file, not for the configuration")


def lines_for(key: str, args: argparse.Namespace) -> list[str]:
    words = {
        "name": args.name, "sha256": hashlib.sha256(key.encode()).hexdigest(),
        "tenant": args.tenant, "models": args.model,
        "requests_per_minute": args.rpm, "tokens_per_minute": args.tpm,
    }  # fmt: skip
    header = "[[key]]" if args.in_file else "[[auth.key]]"
    return [header] + [f"{name} = {json.dumps(value)}" for name, value in words.items() if value]


def run(args: argparse.Namespace) -> int:
    """Raises ZeroproxyError."""
    for what, value in (("--name", args.name), ("--tenant", args.tenant)):
        if not re.fullmatch(r"[A-Za-z0-9._-]{0,64}", value):
            raise ZeroproxyError(f'{what}: letters, digits, ".", "_" and "-", at most 64')
    if args.rpm < 0 or args.tpm < 0:
        raise ZeroproxyError("--rpm and --tpm cannot be negative")
    key = PREFIX + secrets.token_urlsafe(BYTES)
    print(f"the key, shown this once: {key}\n\n" + "\n".join(lines_for(key, args)))
    return 0
