"""Who is measured. A new peer is one row here and one template in bench/compare.

A command is given as words with {placeholders}; a template is filled with the same names:
listen, upstream, admin ("HOST:PORT"), folder (for its files, its own), conns (of the scenario),
nofile (the descriptor limit), maxconn (conns that limit allows), config (the filled template).
"""

import functools
import importlib.util
import os
import shutil
import socket
import string
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from driver.programs import BENCH, BIN

COMPARE = BENCH / "compare"
ROOT = BENCH.parent
# The checkout is measured, installed or not: by us for find_spec, by children through PYTHONPATH.
sys.path.append(str(ROOT))
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
)


@functools.cache
def silent_socket() -> socket.socket:
    """A server that lets everybody in and never answers; it lives as long as the run."""
    return socket.create_server(("127.0.0.1", 0), backlog=64)


def silent_address() -> str:
    return "{}:{}".format(*silent_socket().getsockname())


@dataclass(frozen=True)
class Contestant:
    """One way from the generator to the backend."""

    name: str
    command: tuple[str, ...] = ()  # empty: no proxy at all
    template: str = ""
    module: str = ""  # a Python module it needs
    version: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()  # more words for the template

    def missing(self) -> str:
        """Why it cannot run here; empty: it can."""
        if self.module:
            try:
                found = importlib.util.find_spec(self.module) is not None
            except ImportError:
                found = False
            return "" if found else f"no Python module {self.module}"
        program = self.command[0] if self.command else ""
        return "" if not program or shutil.which(program) else f"no program {program}"

    def prepared(self, words: dict[str, str]) -> list[str]:
        """Write its configuration into its folder; returns the command that starts it."""
        words = {**words, "silent": silent_address()}
        for name, value in self.settings:
            words[name] = string.Template(value).substitute(words)
        if self.template:
            text = (COMPARE / self.template).read_text(encoding="utf-8")
            config = Path(words["folder"]) / self.template.removesuffix(".tmpl")
            config.write_text(string.Template(text).substitute(words), encoding="utf-8")
            words["config"] = str(config)
        return [word.format(**words) for word in self.command]

    def version_line(self) -> str:
        """What it says of itself."""
        if not self.version or self.missing():
            return ""
        said = subprocess.run(self.version, capture_output=True, text=True, check=False, cwd=BENCH)
        return (said.stdout + said.stderr).strip().split("\n")[0]


LEDGER = ("metering", 'ledger = "$folder/usage.sqlite"')
NO_LEDGER = ("metering", 'ledger = ""')
# Redis refuses; PostgreSQL takes the connection and never says a word.
DEAD_SINKS = (
    "metering",
    LEDGER[1]
    + """
sinks = [
    { kind = "redis", url = "redis://127.0.0.1:1/0" },
    { kind = "postgres", dsn = "postgresql://nobody@$silent/none" },
]""",
)

ZEROPROXY_VERSION = "import zeroproxy; print(zeroproxy.__version__)"
ZEROPROXY = (sys.executable, "-m", "zeroproxy", "-c", "{config}")

CONTESTANTS = (
    Contestant("direct"),
    Contestant("floor", (str(BIN / "relay"), "--listen", "{listen}", "--upstream", "{upstream}")),
    Contestant(
        "zeroproxy",
        ZEROPROXY,
        template="zeroproxy.toml.tmpl",
        module="zeroproxy.__main__",
        version=(sys.executable, "-c", ZEROPROXY_VERSION),
        settings=(LEDGER,),
    ),
    Contestant(
        "nginx",
        ("nginx", "-p", "{folder}", "-c", "{config}", "-e", "stderr"),
        template="nginx.conf.tmpl",
        version=("nginx", "-v"),
    ),
    Contestant(
        "haproxy",
        ("haproxy", "-db", "-f", "{config}"),
        template="haproxy.cfg.tmpl",
        version=("haproxy", "-v"),
    ),
)
#: Not run by default: what the ledger costs, and what sinks that are down cost.
BY_HAND = tuple(
    Contestant(
        name,
        ZEROPROXY,
        template="zeroproxy.toml.tmpl",
        module="zeroproxy.__main__",
        settings=(metering,),
    )
    for name, metering in (("zeroproxy-no-ledger", NO_LEDGER), ("zeroproxy-dead-sinks", DEAD_SINKS))
)
DEFAULT = tuple(contestant.name for contestant in CONTESTANTS)
CONTESTANTS += BY_HAND
BY_NAME = {contestant.name: contestant for contestant in CONTESTANTS}
