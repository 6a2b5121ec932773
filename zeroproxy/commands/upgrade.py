"""`zeroproxy upgrade`: a new process in the place of the one that runs, without a gap.

Exit status: 0 if it serves; 1 if it does not, and the old one goes on; 2 if the configuration is
wrong. The new process is a fork of this one, of the same program and environment. It works where
the old one does, and writes where that one writes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from zeroproxy.commands.source import Source, source_of
from zeroproxy.errors import UsageError, ZeroproxyError

if TYPE_CHECKING:
    from zeroproxy.config.schema import Config
    from zeroproxy.server.handover_new import Takeover

STDIN = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--foreground", action="store_true",
        help="be the new process, for a supervisor: it goes on when the old one ends",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    source = source_of(args)
    if source is None:
        raise UsageError("upgrade: -c FILE is needed, the new process's configuration")
    # A reload reads it again, and by then the process works in another folder.
    source = Source(str(Path(source.path).absolute()), source.overrides)
    config = source.load()
    if not config.server.handover:
        raise UsageError(f"{source.path}: server.handover is empty: the running proxy cannot be "
                         "asked for its listeners")  # fmt: skip
    if args.foreground:
        return serve(source, config, lambda takeover: print(takeover.result(), flush=True))
    return launch(source, config)


def serve(source: Source, config: Config, on_relieved: Callable[[Takeover], None]) -> int:
    from zeroproxy.log import on_stderr
    from zeroproxy.server.process import run as run_process

    try:
        with on_stderr() as stderr:
            return run_process(config, source.load, stderr, on_relieved)
    except (ZeroproxyError, OSError) as error:
        print(f"zeroproxy: not upgraded: {error}", file=sys.stderr, flush=True)
        return 1


def launch(source: Source, config: Config) -> int:
    """Fork the new process and wait until it serves, or has ended."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os._exit(be_the_new(source, config, writer))
    os.close(writer)
    try:
        with open(reader, encoding="utf-8") as report:
            sentence = report.readline().strip()
        if sentence:
            print(sentence)
            return 0
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except KeyboardInterrupt:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
        raise
    if status < 0:
        print(f"zeroproxy: not upgraded: the new process was ended by "
              f"{signal.Signals(-status).name}; the old one goes on", file=sys.stderr)  # fmt: skip
    return status if status > 0 else 1


def be_the_new(source: Source, config: Config, writer: int) -> int:
    """Its exit status. It reports on `writer` once it serves."""

    def on_relieved(takeover: Takeover) -> None:
        takeover.adopt_output()
        with contextlib.suppress(OSError):  # nobody waits for it any more
            os.write(writer, f"{takeover.result()}\n".encode())
        os.close(writer)

    try:
        os.setsid()  # the terminal's signals are for this command alone
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, STDIN)
        os.close(nothing)
        return serve(source, config, on_relieved)
    except BaseException:
        traceback.print_exc()
        return 1
