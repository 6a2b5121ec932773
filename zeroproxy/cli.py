"""The command line: `zeroproxy -c FILE` runs; the other commands stand beside it.

Exit status: 0 well, 1 could not start or something failed, 2 bad usage or configuration.
Nothing heavy is imported before it is known to be needed.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
from importlib import metadata

from zeroproxy._version import __version__
from zeroproxy.errors import ConfigError, ZeroproxyError

EXAMPLES = """\
examples:
  zeroproxy -c conf/prod.toml         run the proxy
  zeroproxy check -c conf/prod.toml   say what it would do, and what is wrong
  zeroproxy usage -c conf/prod.toml --by model,tenant --since 24h
                                      what was asked and counted
  zeroproxy key --name ci --rpm 60    a new API key, and the lines that let it in
  zeroproxy bench -u http://127.0.0.1:8000 --compare http://127.0.0.1:8080
                                      measure an endpoint, or two in turns
  zeroproxy sim --listen 127.0.0.1:8000
                                      a simulated inference server to try it on
  zeroproxy demo                      both, with a few requests sent through

signals: SIGTERM or SIGINT drains (server.drain_timeout), a second one cuts; SIGHUP reads the
         configuration again; SIGUSR1 reopens the access log.
documentation: README.md; every key of the configuration: conf/reference.toml
"""


def add_config(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument("-c", "--config", metavar="FILE", required=required, help="TOML file")


def build_parser(argv: list[str]) -> argparse.ArgumentParser:
    """The options; those of some commands only if `argv` asks for them: they import much."""
    parser = argparse.ArgumentParser(
        prog="zeroproxy",
        description="A sidecar proxy for LLM inference servers that costs almost nothing.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config(parser, required=False)
    parser.add_argument("--version", action="version", version=f"zeroproxy {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    add_config(commands.add_parser("run", help="run the proxy (the default)"), required=True)
    check = commands.add_parser("check", help="validate a configuration and what it needs")
    add_config(check, required=True)
    usage = commands.add_parser("usage", help="what the ledger counted: requests and tokens")
    if "usage" in argv:
        from zeroproxy.usage import add_arguments as add_usage_arguments

        add_usage_arguments(usage)
    bench = commands.add_parser("bench", help="load an endpoint, or two in turns, and measure it")
    if "bench" in argv:
        from zeroproxy.loadtest.options import add_arguments as add_bench_arguments

        add_bench_arguments(bench)
    sim = commands.add_parser("sim", help="run a simulated inference server")
    if "sim" in argv:
        from zeroproxy.sim.command import add_arguments

        add_arguments(sim)
    key = commands.add_parser("key", help="make an API key")
    if "key" in argv:
        from zeroproxy.new_key import add_arguments as add_key_arguments

        add_key_arguments(key)
    commands.add_parser("demo", help="simulator and proxy together, with a few requests")
    commands.add_parser("version", help="versions of everything that matters")
    return parser


def data_plane() -> str:
    try:
        from zeroproxy._fast.engine import IS_DEBUG
    except ImportError:
        return "not built (make compile)"
    return f"compiled, {'debug' if IS_DEBUG else 'release'} build"


def print_version() -> int:
    try:
        loop = f"uvloop {metadata.version('uvloop')}"
    except metadata.PackageNotFoundError:
        loop = "asyncio (uvloop is not installed)"
    print(f"zeroproxy {__version__}")
    print(f"data plane: {data_plane()}")
    print(f"loop: {loop}")
    print(f"python {platform.python_version()} on {platform.system()} {platform.machine()}")
    return 0


def open_standard() -> None:
    """Whoever starts the proxy may have closed descriptors 0 to 2: without this the next files and
    sockets would get their numbers."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one


def run_proxy(path: str) -> int:
    open_standard()
    # Their default is to end the process; server/process.py lets them in when it handles them.
    early = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, early)
    try:
        from zeroproxy.config_load import load_config

        config = load_config(path)
        from zeroproxy.server.process import run

        return run(config, path)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def dispatch(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    if args.command == "version":
        return print_version()
    if args.command == "sim":
        from zeroproxy.sim.command import run as run_sim

        return int(run_sim(args))
    if args.command == "usage":
        from zeroproxy.usage import run as run_usage

        return run_usage(args)
    if args.command == "key":
        from zeroproxy.new_key import run as make_key

        return make_key(args)

    if args.command == "bench":
        from zeroproxy.loadtest.command import run as run_bench

        return run_bench(args)
    if args.command == "demo":
        from zeroproxy.demo import main as run_demo

        return int(run_demo())
    if not args.config:
        parser.error("-c FILE is needed (or a COMMAND; see --help)")
    if args.command == "check":
        from zeroproxy.check import check

        return check(args.config)
    return run_proxy(args.config)


def complain(message: object) -> None:
    print(f"zeroproxy: {message}", file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    parser = build_parser(argv)
    args = parser.parse_args(argv)
    try:
        return dispatch(args, parser)
    except ConfigError as error:
        complain(error)
        return 2
    except ZeroproxyError as error:
        complain(error)
        return 1
    except ImportError as error:
        if not (error.name or "").startswith("zeroproxy._fast"):
            raise
        complain(f"the compiled data plane is missing ({error.name}); `make compile` builds it")
        return 1
    except KeyboardInterrupt:
        return 130
