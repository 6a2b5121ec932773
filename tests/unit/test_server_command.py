"""The command that `zeroproxy exec` runs: where the server is made to listen."""

import stat
import sys
from pathlib import Path

import pytest

from zeroproxy.commands.server_command import complete, interpreter_of, vllm_takes_sockets
from zeroproxy.errors import UsageError

PLACE = "/run/private/server.sock"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Makes a program on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def make(name: str, text: str = "#!/bin/sh\n") -> str:
        path = tmp_path / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return make


@pytest.fixture
def vllm(programs, tmp_path, monkeypatch):
    """A vLLM whose options have this source, installed for the Python at hand."""

    def install(text: str) -> str:
        folder = tmp_path / "site" / "vllm" / "entrypoints" / "openai"
        folder.mkdir(parents=True)
        (folder.parents[1] / "__init__.py").write_text("raise SystemExit('it was imported')\n")
        (folder / "cli_args.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
        return programs("vllm", f"#!{sys.executable}\nimport sys\n")

    return install


def words_of(*words: str, reach: str = "auto") -> tuple[str, ...]:
    return complete(words, "/run/private", reach).argv[1:]


def refusal(*words: str, reach: str = "auto") -> str:
    with pytest.raises(UsageError) as caught:
        complete(words, "/run/private", reach)
    return str(caught.value)


def test_vllm_gets_a_socket_where_its_version_has_them(vllm):
    program = vllm("uds: str | None = None\n")
    command = complete(["vllm", "serve", "M", "--dtype", "half"], "/run/private")
    assert command.argv == (program, "serve", "M", "--dtype", "half", "--uds", PLACE)
    assert (command.url, command.preset, command.name) == (f"unix:{PLACE}", "vllm", "vllm")


def test_an_older_vllm_gets_a_port_of_loopback(vllm):
    vllm("host: str | None = None\n")
    command = complete(["vllm", "serve", "M"], "/run/private")
    port = command.url.removeprefix("http://127.0.0.1:")
    assert command.argv[1:] == ("serve", "M", "--host", "127.0.0.1", "--port", port)
    assert (0 < int(port) < 65536, command.socket) == (True, "")


def test_the_look_at_vllm_is_skipped_where_the_caller_has_decided(programs):
    programs("vllm")  # no Python at all
    assert words_of("vllm", "serve", "M", reach="socket")[-2:] == ("--uds", PLACE)
    assert "--port" in words_of("vllm", "serve", "M", reach="port")
    assert "--port" in words_of("vllm", "serve", "M")


@pytest.mark.parametrize(
    "head",
    [
        f"#!{sys.executable}\n",
        f"#!/bin/sh\n'''exec' \"{sys.executable}\" \"$0\" \"$@\"\n' '''\n",
        f"#!/bin/sh\n'''exec' {sys.executable} \"$0\" \"$@\"\n' '''\n",
    ],
)
def test_the_python_of_a_script_is_found(programs, head):
    assert interpreter_of(programs("vllm", head)) == sys.executable


def test_what_is_no_script_of_python_takes_no_socket(programs):
    assert interpreter_of(programs("vllm", "\x7fELF")) == ""
    assert not vllm_takes_sockets(programs("vllm", "#!/bin/sh\n"))


def test_llama_cpp_listens_on_a_host_that_ends_in_sock(programs):
    programs("llama-server")
    assert words_of("llama-server", "-m", "x.gguf") == ("-m", "x.gguf", "--host", PLACE)


@pytest.mark.parametrize(
    ("words", "option", "preset"),
    [
        (["sglang", "serve", "M"], "--port", "sglang"),
        ([sys.executable, "-m", "sglang.launch_server", "--model", "M"], "--port", "sglang"),
        (["text-generation-launcher"], "--hostname", "tgi"),
    ],
)
def test_servers_without_sockets_get_a_port(programs, words, option, preset):
    programs(Path(words[0]).name)
    command = complete(words, "/run/private")
    assert option in command.argv
    assert command.argv[command.argv.index(option) + 1] != ""
    assert (command.preset, command.url.startswith("http://127.0.0.1:")) == (preset, True)


def test_ollama_is_given_its_place_in_the_environment(programs):
    programs("ollama")
    command = complete(["ollama", "serve"], "/run/private")
    assert command.argv[1:] == ("serve",)
    assert command.variables == (("OLLAMA_HOST", command.url.removeprefix("http://")),)


def test_any_server_can_show_the_place(programs):
    programs("mine")
    command = complete(["mine", "--at=unix:{socket}", "-v"], "/run/private")
    assert command.argv[1:] == (f"--at=unix:{PLACE}", "-v")
    assert (command.name, command.preset, command.url) == ("mine", "", f"unix:{PLACE}")
    command = complete(["mine", "{port}"], "/run/private")
    assert command.url == f"http://127.0.0.1:{command.argv[1]}"


@pytest.mark.parametrize(
    ("words", "reach", "expected"),
    [
        (["mine"], "auto", "exec: mine: this server is not known here; write {socket} or {port} "
                           "where its command has the place to listen on"),
        (["none"], "auto", "exec: none: there is no such program"),
        (["mine", "{port}", "{socket}"], "auto",
         "exec: the command has both {socket} and {port}; one is enough"),
        (["mine", "{port}"], "socket", "--reach socket: the command has {port}"),
        (["sglang", "serve"], "socket",
         "--reach socket: sglang cannot listen on a unix socket"),
        (["vllm", "serve", "M", "--port=80"], "auto",
         "exec: --port of vllm: the proxy chooses where the server listens; leave it out, or "
         "write {port} or {socket} in its place"),
        (["llama-server", "--host", "0.0.0.0"], "auto",
         "exec: --host of llama-server: the proxy chooses where the server listens; leave it out, "
         "or write {port} or {socket} in its place"),
    ],
)  # fmt: skip
def test_a_command_that_cannot_be_completed_is_refused(programs, words, reach, expected):
    for name in ("mine", "sglang", "vllm", "llama-server"):
        programs(name)
    assert refusal(*words, reach=reach) == expected
