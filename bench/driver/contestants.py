"""Contestants of a run. A new peer is one row here and one template in bench/compare.

A command is given as arguments with {placeholders}, and a template is filled with the same names:

- listen, upstream, admin ("HOST:PORT"); host, port, admin_port (parts of them)
- folder (its own, for its files), config (the filled template)
- conns (of the scenario), nofile (the descriptor limit), maxconn (conns that limit allows)
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


#: Names of the peers that pip has; bench/peers.py installs them.
PEERS = {
    "litellm": "litellm[proxy]",
    "vllm-router": "vllm-router",
    "smg": "smg",  # what sglang-router has become
}


def peer_folder(name: str) -> Path:
    """The venv of a peer."""
    return ROOT / "build" / "peers" / name


def peer(name: str, program: str) -> str:
    """A program of that venv."""
    return str(peer_folder(name) / "bin" / program)


def pip_version(name: str) -> tuple[str, ...]:
    """The command that prints it."""
    code = f"from importlib import metadata; print('{name}', metadata.version('{name}'))"
    return (peer(name, "python"), "-c", code)


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
    settings: tuple[tuple[str, str], ...] = ()  # more names for the template
    drops_headers: bool = False  # passes on only those it knows

    def missing(self) -> str:
        """Reason for which it cannot run here; empty: it can."""
        if self.module:
            try:
                found = importlib.util.find_spec(self.module) is not None
            except ImportError:
                found = False
            return "" if found else f"no Python module {self.module}"
        program = self.command[0] if self.command else ""
        if not program or shutil.which(program):
            return ""
        hint = " (make bench-peers)" if self.name in PEERS else ""
        return f"no program {program}{hint}"

    def speaks_tls(self) -> bool:
        """True if its configuration has a place for a certificate."""
        if not self.template:
            return False
        return "_tls" in (COMPARE / self.template).read_text(encoding="utf-8")

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
        """Version that it reports."""
        if not self.version or self.missing():
            return ""
        said = subprocess.run(self.version, capture_output=True, text=True, check=False, cwd=BENCH)
        return (said.stdout + said.stderr).strip().split("\n")[0]


LEDGER = ("metering", 'ledger = "$folder/usage.sqlite"')
NO_LEDGER = ("metering", 'ledger = ""')
# Redis refuses; PostgreSQL takes the connection and never answers.
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

LISTEN_UPSTREAM = ("--listen", "{listen}", "--upstream", "{upstream}")
# The routers' flags have one ancestor. One worker: what a policy costs is not measured.
ROUTER = (
    *("--host", "{host}", "--port", "{port}", "--policy", "round_robin", "--log-level", "error"),
    *("--prometheus-host", "{host}", "--prometheus-port", "{admin_port}"),
    *("--request-timeout-secs", "3600"),
)

CONTESTANTS = (
    Contestant("direct"),
    Contestant("floor", (str(BIN / "relay"), *LISTEN_UPSTREAM)),
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
    Contestant(
        "aiohttp",
        (sys.executable, str(COMPARE / "aiohttp_proxy.py"), *LISTEN_UPSTREAM),
        version=(sys.executable, "-c", "import aiohttp; print('aiohttp', aiohttp.__version__)"),
    ),
    Contestant(
        "vllm-router",
        (peer("vllm-router", "vllm-router"), *ROUTER, "--worker-urls", "http://{upstream}"),
        version=pip_version("vllm-router"),
    ),
    Contestant(
        "smg",
        (peer("smg", "smg"), "launch", *ROUTER, "--worker-urls", "http://{upstream}"),
        version=pip_version("smg"),
        drops_headers=True,
    ),
    Contestant(
        "litellm",
        (peer("litellm", "litellm"), "--config", "{config}", "--host", "{host}", "--port", "{port}",
         "--num_workers", "1"),
        template="litellm.yaml.tmpl",
        version=pip_version("litellm"),
        drops_headers=True,
    ),
)  # fmt: skip
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
