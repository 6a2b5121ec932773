"""The command line: `zeroproxy -c FILE` runs; the other commands stand beside it.

Exit status: 0 well, 1 could not start or something failed, 2 bad usage or configuration. Output
that cannot be written is a failure; a pipe whose reader has left is none.
Nothing heavy is imported before it is known to be needed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import re
import signal
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any, NoReturn

from zeroproxy._version import __version__
from zeroproxy.commands.standard_streams import OutputError, install
from zeroproxy.commands.table import COMMANDS
from zeroproxy.errors import ConfigError, UsageError, ZeroproxyError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from zeroproxy.commands.source import Source
    from zeroproxy.config.schema import Config

DESCRIPTION = (
    "A sidecar reverse proxy for LLM inference servers: relays, meters, balances, at little cost"
)
EXAMPLES = """\
examples:
  zeroproxy -c conf/prod.toml         run the proxy
  zeroproxy check -c conf/prod.toml   what it would do, and what is wrong
  zeroproxy check --offline -c conf/prod.toml
                                      the same where there is no port, name or endpoint to try
  zeroproxy config diff -c conf/prod.toml
                                      what differs from the defaults
  zeroproxy top -c conf/prod.toml     watch a running proxy; also: status, reload, drain
  zeroproxy upgrade -c conf/prod.toml a new process takes over, and no connection is refused
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
configuration: -c FILE, else $ZEROPROXY_CONFIG, else /etc/zeroproxy/zeroproxy.toml; variables such
         as ZEROPROXY_SERVER__LISTEN go over it, and --set over them.
documentation: README.md; every key of the configuration: conf/reference.toml
"""


#: Commands that read a configuration; `-c FILE` may stand before or behind them.
WITH_CONFIG = (
    None, "run", "check", "usage", "config", "status", "top", "reload", "drain",
    "upgrade",
)  # fmt: skip


#: Those that are a proxy, at once or later: early signals wait for it (early_signals.py).
PROXIES = (None, "run", "upgrade")


class Parser(argparse.ArgumentParser):
    """Proposes the nearest command or option for one that does not exist."""

    def error(self, message: str) -> NoReturn:
        import difflib

        wrong = re.search(r"invalid choice: '(.*?)'|unrecognized arguments: (\S+)", message)
        if wrong:
            known = [*COMMANDS, "run", "check", "version", "completion"]
            if wrong[2]:
                known = [option for action in all_actions(self) for option in action.option_strings]
            if close := difflib.get_close_matches(wrong[1] or wrong[2], known, n=1):
                message += f"; did you mean {close[0]}?"
        super().error(message)


def all_actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The options of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from all_actions(command)


def add_config(parser: argparse.ArgumentParser, default: Any = argparse.SUPPRESS) -> None:
    """Behind a command it has no default: what stood before the command stays."""
    parser.add_argument("-c", "--config", metavar="FILE", default=default, help="TOML file")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=default,
        help="a value that goes over the file's, as server.listen=:8080; may be repeated",
    )  # fmt: skip


def build_parser(argv: list[str]) -> argparse.ArgumentParser:
    """The options; those of some commands only if `argv` has them: they import much."""
    parser = Parser(
        prog="zeroproxy",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config(parser, default=None)
    parser.add_argument("--version", action="version", version=f"zeroproxy {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    add_config(commands.add_parser("run", help="run the proxy (the default)"))
    check = commands.add_parser("check", help="validate a configuration and what it needs")
    add_config(check)
    check.add_argument(
        "--offline", action="store_true", help="try no port, name, endpoint or server"
    )
    for name, command in COMMANDS.items():
        added = commands.add_parser(name, help=command.help)
        if name in argv:
            command.load()[0](added)
        if name in WITH_CONFIG:
            add_config(added)
    shell = commands.add_parser("completion", help="a script that completes commands in a shell")
    shell.add_argument("shell", choices=("bash", "zsh"))
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


def print_completion(shell: str) -> int:
    import shtab

    parser = build_parser(list(COMMANDS))  # with the options of every command
    for action in all_actions(parser):
        if action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(parser, shell=shell))
    return 0


def open_standard() -> None:
    """Open descriptors 0 to 2 where the parent process closed them: else the next files and sockets
    would get their numbers."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one


def serve(config: Config, read: Callable[[], Config]) -> int:
    """Run until a signal ends it; a reload calls `read`. Exit status: 0 after a drain, 1 if it
    cannot start."""
    from zeroproxy.log import on_stderr
    from zeroproxy.server.process import run

    try:
        with on_stderr() as stderr:
            return run(config, read, stderr)
    except (ZeroproxyError, OSError) as error:
        complain(error)
        return 1


def run_proxy(source: Source) -> int:
    open_standard()
    return serve(source.load(), source.load)


def dispatch(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    for option, value in (("-c FILE", args.config), ("--set", args.set)):
        if value and args.command not in WITH_CONFIG:
            parser.error(f"{option} is not for {args.command}")
    if args.command == "version":
        return print_version()
    if args.command == "completion":
        return print_completion(args.shell)
    if command := COMMANDS.get(args.command):
        return command.load()[1](args)
    from zeroproxy.commands.source import source_of

    source = source_of(args)
    if source is None:
        parser.error("-c FILE is needed (or a COMMAND; see --help)")
    if args.command == "check":
        from zeroproxy.commands.check import check

        return check(source, args.offline)
    return run_proxy(source)


def complain(message: object) -> None:
    # Where stderr is closed or full, the exit status has to do.
    with contextlib.suppress(OSError):
        print(f"zeroproxy: {message}", file=sys.stderr, flush=True)


def execute(argv: list[str], mask: Collection[int] | None = None) -> int:
    parser = build_parser(argv)
    args = parser.parse_args(argv)
    if mask is not None and args.command not in PROXIES:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        return dispatch(args, parser)
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
    `mask`: the signal mask before __main__.py blocked the proxy's signals; a command that is no
    proxy restores it. None: __main__.py has blocked none."""
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
