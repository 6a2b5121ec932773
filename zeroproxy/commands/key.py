"""`zeroproxy key`: a new API key, shown once, and the lines that let it in."""

from __future__ import annotations

import argparse
import hashlib
import json
import secrets
import sys
from typing import Any

import msgspec

from zeroproxy.config.auth import Key
from zeroproxy.errors import UsageError

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


#: Rules for the options, by the name of their key in the configuration.
RULES = {
    "name": '--name: letters, digits, ".", "_" and "-", at most 64',
    "tenant": '--tenant: letters, digits, ".", "_" and "-", at most 64',
    "requests_per_minute": "--rpm: 0 (no limit) or more",
    "tokens_per_minute": "--tpm: 0 (no limit) or more",
}


def settings_of(key: str, args: argparse.Namespace) -> dict[str, Any]:
    """The table of `key`. Raises UsageError for what no configuration would take."""
    settings = {
        "name": args.name, "sha256": hashlib.sha256(key.encode()).hexdigest(),
        "tenant": args.tenant, "models": args.model,
        "requests_per_minute": args.rpm, "tokens_per_minute": args.tpm,
    }  # fmt: skip
    for name, value in settings.items():
        try:
            msgspec.convert({"sha256": settings["sha256"], name: value}, Key)
        except msgspec.ValidationError as error:
            text = str(error).partition(" - at ")[0]
            raise UsageError(RULES.get(name, f"--model: {text[:1].lower()}{text[1:]}")) from None
    return {name: value for name, value in settings.items() if value}


def run(args: argparse.Namespace) -> int:
    """Raises UsageError."""
    key = PREFIX + secrets.token_urlsafe(BYTES)
    settings = settings_of(key, args)
    lines = ["[[key]]" if args.in_file else "[[auth.key]]"]
    lines += [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    print("\n".join(lines), flush=True)
    # Apart, so that `zeroproxy key >> FILE` writes no key into a file.
    print(f"\nthe key, shown this once: {key}", file=sys.stderr, flush=True)
    return 0
