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
from typing import TYPE_CHECKING

from zeroproxy._version import __version__
from zeroproxy.commands import one_line
from zeroproxy.commands.options import OWN, WITH_CONFIG, all_actions, build_parser
from zeroproxy.commands.standard_streams import OutputError, install
from zeroproxy.commands.subcommands import COMMANDS
from zeroproxy.errors import ConfigError, UsageError, ZeroproxyError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from zeroproxy.commands.source import Source
    from zeroproxy.config.schema import Config
    from zeroproxy.server.served_process import ServedProcess


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


#: Those that are a proxy, at once or later: early signals wait for it (early_signals.py).
PROXIES = (None, "run", "exec", "upgrade", one_line.TO)


def serve(config: Config, read: Callable[[], Config], served: ServedProcess | None = None) -> int:
    """Run until a signal ends it; a reload calls `read`. Exit status: 0 after a drain, 1 if it
    cannot start, or that of `served`."""
    from zeroproxy.log import on_stderr
    from zeroproxy.server.process import run

    try:
        with on_stderr() as stderr:
            return run(config, read, stderr, served=served)
    except (ZeroproxyError, OSError) as error:
        complain(error)
        return 1


def run_proxy(start: Callable[..., int]) -> int:
    """The exit status of `start(serve)`, which reads the configuration and serves."""
    open_standard()
    return start(serve)


def run_file(source: Source, serve: Callable[..., int]) -> int:
    return serve(source.load(), source.load)


def dispatch(args: argparse.Namespace, parser: argparse.ArgumentParser, behind: list[str]) -> int:
    """`behind`: the command behind `--` of exec."""
    if args.config and args.command not in WITH_CONFIG:
        parser.error(f"-c FILE is not for {args.command}")
    if args.set and args.command not in (*WITH_CONFIG, one_line.TO):
        parser.error(f"--set is not for {args.command}")
    if args.command == "version":
        return print_version()
    if args.command == "completion":
        return print_completion(args.shell)
    if command := COMMANDS.get(args.command):
        return command.load()[1](args)
    if args.command == one_line.TO:
        return run_proxy(functools.partial(one_line.run_to, args))
    if args.command == "exec":
        return run_proxy(functools.partial(one_line.run_exec, args, behind))
    from zeroproxy.commands.source import source_of

    source = source_of(args)
    if source is None:
        parser.error("-c FILE or URL is needed (or a COMMAND; see --help)")
    if args.command == "check":
        from zeroproxy.commands.check import check

        return check(source, args.offline)
    return run_proxy(functools.partial(run_file, source))


def complain(message: object) -> None:
    # Where stderr is closed or full, the exit status has to do.
    with contextlib.suppress(OSError):
        print(f"zeroproxy: {message}", file=sys.stderr, flush=True)


def execute(argv: list[str], mask: Collection[int] | None = None) -> int:
    argv, behind = one_line.split_command(one_line.with_command(argv, (*COMMANDS, *OWN)))
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
