"""The command line: `zeroproxy -c FILE` or `zeroproxy URL` runs; other commands stand beside them.

Exit status: 0 well, 1 could not start or something failed, 2 bad usage or configuration. Output
that cannot be written is a failure; a pipe whose reader has left is none.
Nothing heavy is imported before it is known to be needed.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import platform
import signal
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

from zeroproxy._version import __version__
from zeroproxy.commands import one_line
from zeroproxy.commands.standard_streams import OutputError, install
from zeroproxy.errors import ConfigError, UsageError, ZeroproxyError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from zeroproxy.config.schema import Config
    from zeroproxy.server.served_process import ServedProcess

EXAMPLES = """\
examples:
  zeroproxy http://127.0.0.1:8000     run the proxy before this server, without a file
  zeroproxy -c conf/prod.toml         run the proxy
  zeroproxy exec -- vllm serve MODEL  start the server too: no port but the proxy's
  zeroproxy check -c conf/prod.toml   say what it would do, and what is wrong
  zeroproxy check --offline -c conf/prod.toml
                                      the same where there is no port, name or endpoint to try
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


#: Commands that read a configuration; `-c FILE` may stand before or behind them.
WITH_CONFIG = (None, "run", "check", "usage", "exec")
#: Those that are a proxy: early signals wait for it (server/process.py).
PROXIES = (None, "run", "exec", one_line.TO)
COMMANDS = ("run", "exec", "check", "usage", "bench", "sim", "key", "demo", "version")


def add_config(parser: argparse.ArgumentParser, default: Any = argparse.SUPPRESS) -> None:
    """Behind a command it has no default: what stood before the command stays."""
    parser.add_argument("-c", "--config", metavar="FILE", default=default, help="TOML file")


def add_check(commands: Any) -> None:
    check = commands.add_parser("check", help="validate a configuration and what it needs")
    add_config(check)
    check.add_argument(
        "--offline", action="store_true", help="try no port, name, endpoint or server"
    )


def build_parser(argv: list[str]) -> argparse.ArgumentParser:
    """The options; those of some commands only if `argv` has them: they import much."""
    parser = argparse.ArgumentParser(
        prog="zeroproxy",
        description="A sidecar proxy for LLM inference servers that costs almost nothing.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config(parser, default=None)
    parser.add_argument("--version", action="version", version=f"zeroproxy {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    add_config(commands.add_parser("run", help="run the proxy (the default)"))
    one_line.add_parsers(commands)
    add_check(commands)
    usage = commands.add_parser("usage", help="what the ledger counted: requests and tokens")
    if "usage" in argv:
        from zeroproxy.commands.usage import add_arguments as add_usage_arguments

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
        from zeroproxy.commands.key import add_arguments as add_key_arguments

        add_key_arguments(key)
    commands.add_parser("demo", help="simulator and proxy together, with a few requests")
    commands.add_parser("version", help="versions of everything that matters")
    return parser


def data_plane() -> str:
    try:
        from zeroproxy._fast.engine.engine import IS_DEBUG
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
    """Open descriptors 0 to 2 where the parent process closed them: else the next files and sockets
    would get their numbers."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one


def serve(config: Config, read: Callable[[], Config], served: ServedProcess | None = None) -> int:
    """Run until a signal ends it. Exit status: 0 after a drain, 1 if it cannot start, or that of
    `served`."""
    from zeroproxy.log import on_stderr
    from zeroproxy.server.process import run

    try:
        with on_stderr() as stderr:
            return run(config, read, stderr, served)
    except (ZeroproxyError, OSError) as error:
        complain(error)
        return 1


def run_proxy(start: Callable[..., int]) -> int:
    """The exit status of `start(serve)`, which reads the configuration and serves."""
    open_standard()
    # Their default is to end the process; server/process.py lets them in when it handles them.
    early = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, early)
    try:
        return start(serve)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_file(path: str, serve: Callable[..., int]) -> int:
    from zeroproxy.config.load import load_config

    return serve(load_config(path), functools.partial(load_config, path))


def dispatch(args: argparse.Namespace, parser: argparse.ArgumentParser, behind: list[str]) -> int:
    """`behind`: the command behind `--` of exec."""
    if args.config and args.command not in WITH_CONFIG:
        parser.error(f"-c FILE is not for {args.command}")
    if args.command == "version":
        return print_version()
    if args.command == "sim":
        from zeroproxy.sim.command import run as run_sim

        return int(run_sim(args))
    if args.command == "usage":
        from zeroproxy.commands.usage import run as run_usage

        return run_usage(args)
    if args.command == "key":
        from zeroproxy.commands.key import run as make_key

        return make_key(args)

    if args.command == "bench":
        from zeroproxy.loadtest.command import run as run_bench

        return run_bench(args)
    if args.command == "demo":
        from zeroproxy.commands.demo import main as run_demo

        return int(run_demo())
    if args.command == one_line.TO:
        return run_proxy(functools.partial(one_line.run_to, args))
    if args.command == "exec":
        return run_proxy(functools.partial(one_line.run_exec, args, behind))
    if not args.config:
        parser.error("-c FILE or URL is needed (or a COMMAND; see --help)")
    if args.command == "check":
        from zeroproxy.commands.check import check

        return check(args.config, args.offline)
    return run_proxy(functools.partial(run_file, args.config))


def complain(message: object) -> None:
    # Where stderr is closed or full, the exit status has to do.
    with contextlib.suppress(OSError):
        print(f"zeroproxy: {message}", file=sys.stderr, flush=True)


def execute(argv: list[str], mask: Collection[int] | None = None) -> int:
    argv, behind = one_line.split_command(one_line.with_command(argv, COMMANDS))
    parser = build_parser(argv)
    args = parser.parse_args(argv)
    if mask is not None and args.command not in PROXIES:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        return dispatch(args, parser, behind)
    except (ConfigError, UsageError) as error:
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


def main(argv: list[str] | None = None, mask: Collection[int] | None = None) -> int:
    """`argv` is given by tests; a process of its own has its standard streams put in order.
    `mask`: of signals, before __main__.py made the proxy's wait."""
    if argv is not None:
        return execute(argv)
    install()
    try:
        try:
            return execute(sys.argv[1:], mask)
        finally:
            sys.stdout.flush()
    except OutputError as error:
        complain(error)
        return 1
