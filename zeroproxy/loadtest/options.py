"""The options of `zeroproxy bench`, and checks of them before the first request."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zeroproxy.errors import UsageError
from zeroproxy.loadtest.dialects import DIALECTS, dialect_of
from zeroproxy.loadtest.timed_request import Target

PATH = "/v1/chat/completions"
PROMPT = "Request {n}. Explain step by step how a lighthouse works, for someone who never saw one."
UNIX = "unix:"

EPILOG = """\
examples:
  zeroproxy bench -u http://127.0.0.1:8000 --concurrency 1,8,64 --duration 20
  zeroproxy bench -u http://gpu:8000 --compare http://gpu:8080 --concurrency 64 --json r.json
                          direct against proxied, in turns on the same machine

It sends real requests: an endpoint that bills will bill them. It ends by itself; Ctrl-C prints what
was measured once open requests have ended, a second one gives these up.
Its limit: one process on one core reads about %s events/s; above that its own work is in the
times. It says so when it comes near (`own core`). docs/bench.md has what each figure means.
exit status: 0 all answered, 1 something failed, 2 bad usage, 130 interrupted
"""
LIMIT = "20,000"


@dataclass(frozen=True)
class Settings:
    """Options of a run; keys are in `targets` only, and never written."""

    targets: tuple[Target, ...]  # one, or two that are compared
    model: str  # "": the first that the server lists
    prompt: str
    max_tokens: int
    streams: bool
    wants_usage: bool
    concurrency: tuple[int, ...]
    seconds: float
    requests: int
    slices: int
    timeout: float
    verifies: bool
    path: str

    def as_dict(self) -> dict[str, Any]:
        """For the JSON."""
        return {
            "urls": [target.name for target in self.targets],
            "path": self.path,
            "prompt": self.prompt,
            "max_tokens": self.max_tokens,
            "stream": self.streams,
            "concurrency": list(self.concurrency),
            "duration_s": self.seconds,
            "requests": self.requests,
            "slices": self.slices if len(self.targets) > 1 else 1,
            "timeout_s": self.timeout,
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Measure an OpenAI- or Anthropic-compatible endpoint, or compare two."
    parser.epilog = EPILOG % LIMIT
    add = parser.add_argument
    add("-u", "--url", required=True, help="http(s)://HOST:PORT, with or without /v1; unix:PATH")
    add("--compare", metavar="URL", help="a second one, asked in turns with the first")
    add("-c", "--concurrency", default="8", metavar="N[,N...]",
        help="requests at once (default 8)")  # fmt: skip
    add("-d", "--duration", type=float, default=10.0, metavar="S",
        help="seconds per concurrency and URL (default 10)")  # fmt: skip
    add("-n", "--requests", type=int, default=0, metavar="N",
        help="end after so many per concurrency and URL, if the time is not up before")  # fmt: skip
    add("--model", default="", help="default: the first that the server lists")
    prompts = parser.add_mutually_exclusive_group()
    prompts.add_argument("--prompt", metavar="TEXT", help="{n} in it: the request's number")
    prompts.add_argument("--prompt-file", metavar="FILE", help="the same from a file")
    add("--max-tokens", type=int, default=128, metavar="N", help="of an answer (default 128)")
    add("--no-stream", action="store_true", help="ask for whole answers")
    add("--no-usage", action="store_true", help="do not ask for usage in streamed answers")
    add("--path", default=PATH, help=f"default {PATH}; ends in {', '.join(DIALECTS)}")
    add("--slices", type=int, default=4, metavar="N",
        help="turns of each URL with --compare (default 4)")  # fmt: skip
    add("--timeout", type=float, default=600.0, metavar="S", help="of one request (default 600)")
    add("--insecure", action="store_true", help="take any TLS certificate")
    for name, what in (("", ""), ("compare-", " of the second URL (default: the first's)")):
        keys = parser.add_mutually_exclusive_group()
        keys.add_argument(f"--{name}api-key-file", metavar="FILE", help=f"holds the key{what}")
        keys.add_argument(f"--{name}api-key-env", metavar="NAME",
                          help=f"a variable that holds the key{what}")  # fmt: skip
    add("--json", metavar="FILE", help="write everything measured; -: to standard output")


def read_file(path: str, option: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise UsageError(f"{option} {path}: {why}") from None


def api_key(path: str | None, variable: str | None, prefix: str) -> str:
    """The key; empty: none was given."""
    if path:
        key = read_file(path, f"--{prefix}api-key-file").strip()
    elif variable:
        key = os.environ.get(variable, "").strip()
    else:
        return ""
    if not key or not key.isprintable():
        raise UsageError(f"no key in {path or variable}")
    return key


def request_url(base: str, path: str) -> str:
    """Base and path, without a second /v1. Raises UsageError."""
    if base.startswith(UNIX):
        return f"http://localhost{path}"
    parts = urlsplit(base)
    try:
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
    except ValueError:
        wrong = True
    if wrong or parts.query or parts.fragment:
        raise UsageError(f"{base}: want http://HOST:PORT, https://HOST or unix:PATH")
    if parts.username is not None:
        raise UsageError("a key does not belong in the URL: --api-key-file or --api-key-env")
    root = base.rstrip("/")
    return root.removesuffix("/v1") + path if path.startswith("/v1/") else root + path


def make_target(base: str, path: str, key: str) -> Target:
    dialect = dialect_of(path)
    if dialect is None or not path.startswith("/"):
        raise UsageError(f"--path {path}: want one that ends in {', '.join(DIALECTS)}")
    # Compressed events would be timed by when the compressor let go of them.
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    if path.endswith("/messages"):
        headers["anthropic-version"] = "2023-06-01"
        if key:
            headers["x-api-key"] = key
    if key:
        headers["Authorization"] = f"Bearer {key}"
    return Target(base, request_url(base, path), dialect, headers)


def numbers_of(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(word) for word in text.split(","))
    except ValueError:
        raise UsageError(f"--concurrency {text}: want N or N,N,...") from None
    if min(found) < 1:
        raise UsageError(f"--concurrency {text}: at least 1")
    return found


def read_settings(args: argparse.Namespace) -> Settings:
    """Raises UsageError."""
    least = (("duration", 0.1), ("max_tokens", 1), ("slices", 1), ("timeout", 0.1), ("requests", 0))
    for name, value in least:
        if not getattr(args, name) >= value:
            raise UsageError(f"--{name.replace('_', '-')}: at least {value}")
    key = api_key(args.api_key_file, args.api_key_env, "")
    targets = [make_target(args.url, args.path, key)]
    if args.compare:
        other = api_key(args.compare_api_key_file, args.compare_api_key_env, "compare-")
        targets.append(make_target(args.compare, args.path, other or key))
    prompt = read_file(args.prompt_file, "--prompt-file") if args.prompt_file else args.prompt
    return Settings(
        targets=tuple(targets),
        model=args.model,
        prompt=prompt or PROMPT,
        max_tokens=args.max_tokens,
        streams=not args.no_stream,
        wants_usage=not args.no_usage,
        concurrency=numbers_of(args.concurrency),
        seconds=args.duration,
        requests=args.requests,
        slices=args.slices,
        timeout=args.timeout,
        verifies=not args.insecure,
        path=args.path,
    )
