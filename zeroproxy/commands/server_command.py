"""The command of an inference server that `zeroproxy exec` starts, and where it will listen.

The proxy chooses the place: a unix socket in a private folder where the server can listen on one,
else a free port of loopback. It adds the server's own options for that, and refuses a command that
has them already. A command of an unknown server shows the place with {socket} or {port}.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zeroproxy.errors import UsageError

#: Seconds that the look into a server's installation may take.
LOOK = 30.0
#: Prints the folder of the package that its argument names, without importing it.
FOLDER_OF = (
    "import importlib.util as u, sys; s = u.find_spec(sys.argv[1]);"
    "print(s.submodule_search_locations[0] if s else '')"
)


@dataclass(frozen=True)
class Kind:
    """A server that is known by its command."""

    name: str
    preset: str
    #: Options that let it listen on {port} of loopback, or on {socket}; (): it cannot.
    port: tuple[str, ...]
    socket: tuple[str, ...] = ()
    #: Variables of the environment that do so.
    variables: tuple[tuple[str, str], ...] = ()
    #: Options that would let it listen elsewhere.
    refused: tuple[str, ...] = ("--host", "--port")


PORT = ("--host", "127.0.0.1", "--port", "{port}")
VLLM = Kind("vllm", "vllm", PORT, ("--uds", "{socket}"), refused=("--host", "--port", "--uds"))
#: A host that ends in .sock is a unix socket (tools/server/server-http.cpp).
LLAMA = Kind("llama-server", "llamacpp", PORT, ("--host", "{socket}"))
SGLANG = Kind("sglang", "sglang", PORT)
TGI = Kind(
    "text-generation-launcher",
    "tgi",
    ("--hostname", "127.0.0.1", "--port", "{port}"),
    refused=("--hostname", "--port", "-p"),
)
OLLAMA = Kind("ollama", "ollama", (), variables=(("OLLAMA_HOST", "127.0.0.1:{port}"),), refused=())
SIM = Kind("zeroproxy sim", "", ("--listen", "127.0.0.1:{port}"), ("--listen", "unix:{socket}"),
           refused=("--listen",))  # fmt: skip

#: By the program and the word behind it, or by the module behind `python -m`.
KNOWN: dict[tuple[str, str], Kind] = {
    ("vllm", "serve"): VLLM,
    ("-m", "vllm.entrypoints.openai.api_server"): VLLM,
    ("llama-server", ""): LLAMA,
    ("sglang", "serve"): SGLANG,
    ("-m", "sglang.launch_server"): SGLANG,
    ("text-generation-launcher", ""): TGI,
    ("ollama", "serve"): OLLAMA,
    ("zeroproxy", "sim"): SIM,
    ("-m", "zeroproxy"): SIM,
}


@dataclass(frozen=True)
class ServerCommand:
    """The command as it is run. `url`: of the endpoint; `socket`: its path, "" if it is a port."""

    argv: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    name: str
    preset: str
    url: str
    socket: str


def kind_of(argv: Sequence[str]) -> Kind | None:
    """None: the server is not known."""
    program, rest = Path(argv[0]).name, list(argv[1:])
    if re.fullmatch(r"python[0-9.]*", program) and "-m" in rest[:-1]:
        module = rest[rest.index("-m") + 1]
        kind = KNOWN.get(("-m", module))
        return None if kind is SIM and "sim" not in rest else kind
    return KNOWN.get((program, "")) or KNOWN.get((program, rest[0] if rest else ""))


def find_program(word: str) -> str:
    """Its path. Raises UsageError."""
    found = shutil.which(word)
    if found is None:
        is_there = Path(word).exists() and "/" in word
        problem = "cannot be run" if is_there else "there is no such program"
        raise UsageError(f"exec: {word}: {problem}")
    return found


def interpreter_of(program: str) -> str:
    """The Python that runs a script, by its first lines; "": it is none."""
    with contextlib.suppress(OSError), Path(program).open("rb") as script:
        head = script.read(512).decode("utf-8", "replace")
        if re.search(r"^python[0-9.]*$", Path(program).name):
            return program
        # pip writes a line of the shell where the path is too long for one of the kernel.
        found = re.match(r"#!(?:/bin/sh\n'''exec' )?\"?(/[^\s\"]*python[0-9.]*)", head)
        if found:
            return found[1]
        if re.match(r"#!\s*/usr/bin/env python", head):
            return shutil.which("python3") or ""
    return ""


def vllm_takes_sockets(program: str) -> bool:
    """True if this version of vLLM has --uds: its sources are looked at, as its --help takes ten
    seconds."""
    python = interpreter_of(program)
    if not python:
        return False
    try:
        done = subprocess.run([python, "-c", FOLDER_OF, "vllm"], capture_output=True, text=True,
                              timeout=LOOK, check=True, stdin=subprocess.DEVNULL)  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return False
    folder = Path(done.stdout.strip() or "/nonexistent") / "entrypoints"
    sources = (path.read_text("utf-8", "replace") for path in folder.rglob("cli_args.py"))
    return any(re.search(r"\buds\b", source) for source in sources)


def free_port() -> int:
    """A port of loopback. Another process could take it before the server does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def shown_place(argv: Sequence[str]) -> str:
    """The place that the command itself shows: "socket", "port" or ""."""
    shown = [name for name in ("socket", "port") if any(f"{{{name}}}" in word for word in argv)]
    if len(shown) > 1:
        raise UsageError("exec: the command has both {socket} and {port}; one is enough")
    return shown[0] if shown else ""


def refuse_options(argv: Sequence[str], kind: Kind) -> None:
    for word in argv:
        option = word.partition("=")[0]
        if option in kind.refused:
            raise UsageError(
                f"exec: {option} of {Path(argv[0]).name}: the proxy chooses where the server "
                "listens; leave it out, or write {port} or {socket} in its place"
            )


def choose(argv: Sequence[str], kind: Kind | None, reach: str, look: Callable[[], bool]) -> str:
    """A socket or a port. `look`: whether the vLLM at hand takes sockets. Raises UsageError."""
    if kind is None:
        raise UsageError(
            f"exec: {argv[0]}: this server is not known here; write {{socket}} or {{port}} "
            "where its command has the place to listen on"
        )
    if reach == "socket" and not kind.socket:
        raise UsageError(f"--reach socket: {kind.name} cannot listen on a unix socket")
    if reach != "auto":
        return reach
    if not kind.socket or (kind is VLLM and not look()):
        return "port"
    return "socket"


def complete(argv: Sequence[str], folder: str, reach: str = "auto") -> ServerCommand:
    """The command with its place to listen on; a socket is made in `folder`. Raises UsageError."""
    program, kind = find_program(argv[0]), kind_of(argv)
    shown = shown_place(argv)
    options: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    if shown:
        if reach not in ("auto", shown):
            raise UsageError(f"--reach {reach}: the command has {{{shown}}}")
        place = shown
    else:
        place = choose(argv, kind, reach, lambda: vllm_takes_sockets(program))
        assert kind is not None
        refuse_options(argv, kind)
        options, variables = (kind.socket if place == "socket" else kind.port), kind.variables
    path = str(Path(folder) / "server.sock") if place == "socket" else ""
    port = "" if path else str(free_port())

    def fill(word: str) -> str:
        return word.replace("{socket}", path) if path else word.replace("{port}", port)

    return ServerCommand(
        argv=(program, *map(fill, (*argv[1:], *options))),
        variables=tuple((name, fill(value)) for name, value in variables),
        name=kind.name if kind is not None else Path(argv[0]).name,
        preset=kind.preset if kind is not None else "",
        url=f"unix:{path}" if path else f"http://127.0.0.1:{port}",
        socket=path,
    )
