"""The commands that have options of their own, by name; each is imported when it is used."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

AddArguments = Callable[[argparse.ArgumentParser], None]
Run = Callable[[argparse.Namespace], int]


class Command(NamedTuple):
    """`load` imports it: the function that adds its options, and the one that runs it."""

    help: str
    load: Callable[[], tuple[AddArguments, Run]]


def no_arguments(_: argparse.ArgumentParser) -> None:
    pass


def load_usage() -> tuple[AddArguments, Run]:
    from zeroproxy.commands.usage import add_arguments, run

    return add_arguments, run


def load_config() -> tuple[AddArguments, Run]:
    from zeroproxy.commands.config import add_arguments, run

    return add_arguments, run


def load_bench() -> tuple[AddArguments, Run]:
    from zeroproxy.loadtest.command import run
    from zeroproxy.loadtest.options import add_arguments

    return add_arguments, run


def load_sim() -> tuple[AddArguments, Run]:
    from zeroproxy.sim.command import add_arguments, run

    return add_arguments, run


def load_key() -> tuple[AddArguments, Run]:
    from zeroproxy.commands.key import add_arguments, run

    return add_arguments, run


def load_status() -> tuple[AddArguments, Run]:
    from zeroproxy.commands.steer import add_status_arguments, status

    return add_status_arguments, status


def load_reload() -> tuple[AddArguments, Run]:
    from zeroproxy.commands.admin_client import add_arguments
    from zeroproxy.commands.steer import reload

    return add_arguments, reload


def load_drain() -> tuple[AddArguments, Run]:
    from zeroproxy.commands.steer import add_drain_arguments, drain

    return add_drain_arguments, drain


def load_top() -> tuple[AddArguments, Run]:
    from zeroproxy.commands.top import add_arguments, run

    return add_arguments, run


def load_upgrade() -> tuple[AddArguments, Run]:
    from zeroproxy.commands.upgrade import add_arguments, run

    return add_arguments, run


def load_demo() -> tuple[AddArguments, Run]:
    from zeroproxy.commands.demo import run

    return no_arguments, run


COMMANDS = {
    "status": Command("a running proxy and its endpoints", load_status),
    "top": Command("a running proxy, watched in the terminal", load_top),
    "reload": Command("let a running proxy read its configuration again", load_reload),
    "upgrade": Command("a new process takes over, without a gap", load_upgrade),
    "drain": Command("let a running proxy, or one of its endpoints, finish", load_drain),
    "usage": Command("what the ledger counted: requests and tokens", load_usage),
    "config": Command("the reference, examples, the values in effect", load_config),
    "bench": Command("load an endpoint, or two in turns, and measure it", load_bench),
    "sim": Command("run a simulated inference server", load_sim),
    "key": Command("make an API key", load_key),
    "demo": Command("simulator and proxy together, with a few requests", load_demo),
}
