"""The proxy without a file: `zeroproxy URL`, and `zeroproxy exec -- COMMAND`.

Arguments take the way of a file through types and checks (config/arguments.py). Exit status: that
of `zeroproxy -c FILE`; of exec, where the server ended by itself, the server's
(server/served_process.py).
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import tempfile
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from zeroproxy.commands.source import overrides_of
from zeroproxy.errors import UsageError

if TYPE_CHECKING:
    from zeroproxy.config.arguments import Argument
    from zeroproxy.config.schema import Config

#: The command that an address stands for; it is never written.
TO = "URL"
#: An address, right or wrong: no command has such a character.
ADDRESS = re.compile(r"[^-].*[:/.].*")
#: Options in front of a command that have a value.
VALUED = ("-c", "--config", "--set")
#: Options of `zeroproxy URL` and of exec that have a value.
LISTEN, ADMIN, LEDGER, PRESET = "--listen", "--admin", "--ledger", "--preset"
#: Seconds that a server has to end before it is killed (Kubernetes and Docker: 30 and 10).
STOP_TIMEOUT = 30.0
TO_EXAMPLES = """\
examples:
  zeroproxy http://127.0.0.1:8000
  zeroproxy http://10.0.0.1:8000 http://10.0.0.2:8000 --preset vllm --listen 0.0.0.0:8080
All other keys have the defaults of a file.
"""
EXEC_EXAMPLES = """\
examples:
  zeroproxy exec -- vllm serve Qwen/Qwen3-8B
  zeroproxy exec --listen 0.0.0.0:8080 -c proxy.toml -- llama-server -m model.gguf
  zeroproxy exec -- ./my-server --port {port}
Known: vllm serve, llama-server, sglang, text-generation-launcher, ollama serve, zeroproxy sim. The
command of any other has {socket} (a path) or {port} where it takes the place to listen on.
In FILE the upstream leaves `endpoints` out.
SIGTERM and SIGINT drain the proxy first, then the server gets the signal; SIGHUP reloads, and goes
on to a server that handles it. Exit status: the server's if it ended by itself.
"""


def split_command(argv: list[str]) -> tuple[list[str], list[str]]:
    """Arguments of the proxy, and the command behind `--` of exec."""
    if "--" in argv and "exec" in argv[: argv.index("--")]:
        place = argv.index("--")
        return argv[:place], argv[place + 1 :]
    return argv, []


def with_command(argv: list[str], commands: Collection[str]) -> list[str]:
    """`argv` with the command that an address in it stands for."""
    for word in argv:
        if word in commands or word in ("-h", "--help", "--version"):
            return argv
        if ADDRESS.fullmatch(word) and previous_of(argv, word) not in VALUED:
            return [TO, *argv]
    return argv


def previous_of(argv: list[str], word: str) -> str:
    place = argv.index(word)
    return argv[place - 1] if place else ""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        LISTEN, metavar="ADDRESS", action="append", help="server.listen; may be repeated"
    )
    parser.add_argument(ADMIN, metavar="ADDRESS", help='admin.listen; "": no admin port')
    parser.add_argument(LEDGER, metavar="PATH", help='metering.ledger; "": no ledger')
    parser.add_argument(PRESET, metavar="NAME", help="the kind of server: vllm, llamacpp, tgi, …")


def add_parsers(commands: Any) -> None:
    """`URL` and `exec`, beside the other commands."""
    add_to_arguments(commands.add_parser(TO, help="run the proxy in front of it, without a file"))
    add_exec_arguments(commands.add_parser("exec", help="start an inference server, and serve it"))


def add_to_arguments(parser: argparse.ArgumentParser) -> None:
    parser.prog = "zeroproxy"
    parser.description = "Run the proxy in front of these addresses, without a file."
    parser.epilog = TO_EXAMPLES
    parser.add_argument("url", nargs="+", metavar="URL", help="an endpoint: http://HOST:PORT, …")
    add_options(parser)


def add_exec_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "zeroproxy exec [OPTIONS] -- COMMAND [ARGUMENT ...]"
    parser.description = "Start an inference server that only the proxy reaches, and serve it."
    parser.epilog = EXEC_EXAMPLES
    parser.add_argument("-c", "--config", metavar="FILE", default=argparse.SUPPRESS, help="TOML")
    add_options(parser)
    parser.add_argument(
        "--reach", choices=("auto", "socket", "port"), default="auto",
        help="a unix socket in a private folder, or a free port of loopback; auto: a socket where "
             "the server can listen on one",
    )  # fmt: skip
    parser.add_argument(
        "--stop-timeout", type=float, metavar="SECONDS", default=STOP_TIMEOUT,
        help="for the server to end before it is killed; default %(default)g",
    )  # fmt: skip


def given(args: argparse.Namespace) -> list[Argument]:
    """The options that set a key."""
    from zeroproxy.config.arguments import Argument

    found: list[tuple[str, tuple[str, str], Any]] = [
        (LISTEN, ("server", "listen"), args.listen),
        (ADMIN, ("admin", "listen"), args.admin),
        (LEDGER, ("metering", "ledger"), args.ledger),
    ]
    return [Argument(name, path, value) for name, path, value in found if value is not None]


def read_to(args: argparse.Namespace) -> Config:
    """Raises ConfigError."""
    from zeroproxy.config.arguments import Served, configure

    for url in args.url:
        if url.endswith(".toml"):
            raise UsageError(f"{url}: a file of the configuration is given with -c {url}")
    upstream = Served("URL", args.url, args.preset or "")
    return configure(upstream, given(args), overrides=overrides_of(args))


Serve = Callable[..., int]


def run_to(args: argparse.Namespace, serve: Serve) -> int:
    """`zeroproxy URL`. A reload finds the same configuration; its names are looked up again."""
    read = functools.partial(read_to, args)
    return serve(read(), read)


def run_exec(args: argparse.Namespace, argv: list[str], serve: Serve) -> int:
    """`zeroproxy exec`. Raises ConfigError and UsageError before anything is started."""
    from zeroproxy.commands.server_command import complete
    from zeroproxy.config.arguments import Served, configure
    from zeroproxy.server.served_process import ServedProcess

    if not argv:
        raise UsageError("exec: the command is missing: zeroproxy exec [OPTIONS] -- COMMAND")
    if not 0 <= args.stop_timeout <= 86400:
        raise UsageError("--stop-timeout: expected 0 to 86400 seconds")
    # Readable by this user alone, whatever the umask: the socket needs no key.
    with tempfile.TemporaryDirectory(prefix="zeroproxy-", ignore_cleanup_errors=True) as folder:
        command = complete(argv, folder, args.reach)
        upstream = Served("exec", [command.url], args.preset or "", command.preset)
        read = functools.partial(
            configure, upstream, given(args), args.config or "", overrides_of(args)
        )
        config = read()
        if config.server.handover:
            raise UsageError("exec: server.handover: a server that is started here belongs to one "
                             "process; leave it empty")  # fmt: skip
        served = ServedProcess(command.name, command.url, folder, args.stop_timeout)
        served.fork(command.argv, {**os.environ, **dict(command.variables)})
        return serve(config, read, served)
