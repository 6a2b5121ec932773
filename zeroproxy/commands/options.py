"""The options of the command line, and the proposals for misspelt ones."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any, NoReturn

from zeroproxy._version import __version__
from zeroproxy.commands import one_line
from zeroproxy.commands.subcommands import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator

DESCRIPTION = (
    "A sidecar reverse proxy for LLM inference servers: relays, meters, balances, at little cost"
)
EXAMPLES = """\
examples:
  zeroproxy http://127.0.0.1:8000     run the proxy in front of this server, without a file
  zeroproxy -c conf/prod.toml         run the proxy
  zeroproxy exec -- vllm serve MODEL  start the server too: no port but the proxy's
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
    None, "run", "exec", "check", "usage", "config", "status", "top", "reload", "drain",
    "upgrade",
)  # fmt: skip
#: Commands that are no module of their own.
OWN = ("run", "exec", "check", "completion", "version")


class Parser(argparse.ArgumentParser):
    """Proposes the nearest command or option for one that does not exist."""

    def error(self, message: str) -> NoReturn:
        import difflib

        wrong = re.search(r"invalid choice: '(.*?)'|unrecognized arguments: (\S+)", message)
        if wrong:
            known = [*COMMANDS, *OWN]
            if wrong[2]:
                known = [option for action in all_actions(self) for option in action.option_strings]
            given = wrong[1] or wrong[2]
            close = difflib.get_close_matches(given, known, n=1)
            # One that exists is not for this command.
            if close and given.split()[0] not in known:
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
    one_line.add_parsers(commands)
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
