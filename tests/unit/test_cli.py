"""The command line up to where a proxy would start; a running one is in tests/e2e."""

import asyncio
import errno
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import zeroproxy
from tests.support.terminal import shown_by
from zeroproxy.commands import check, check_report
from zeroproxy.commands import main as cli
from zeroproxy.config.load import parse_config
from zeroproxy.early_signals import EARLY
from zeroproxy.errors import PACKAGES
from zeroproxy.server.listener import refusal

GOOD = '[[upstream]]\nname = "a"\nendpoints = ["http://127.0.0.1:1"]\n'
OFF = '[server]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = ""\n'
HEAVY = {"aiohttp", "msgspec", "orjson", "prometheus_client", "rich", "uvloop"}


def run_cli(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "zeroproxy", *arguments], capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def config(tmp_path):
    """Writes a configuration and answers with its path."""

    def write(text: str, name: str = "x.toml") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    return write


# ---------------------------------------------------------------- output and exit statuses


def test_help_names_every_command_and_the_signals():
    done = run_cli("--help")
    assert done.returncode == 0
    for word in (
        "run",
        "exec",
        "zeroproxy http://127.0.0.1:8000",
        "check",
        "usage",
        "bench",
        "sim",
        "demo",
        "version",
        "examples:",
        "SIGTERM",
    ):
        assert word in done.stdout


def test_every_command_has_help():
    for command in ("run", "exec", "check", "usage", "bench", "sim", "demo", "version"):
        done = run_cli(command, "--help")
        assert (done.returncode, done.stderr) == (0, "")
    assert "--listen" in run_cli("sim", "--help").stdout


def test_version_says_what_matters():
    done = run_cli("version")
    assert done.returncode == 0
    assert done.stdout.startswith(f"zeroproxy {zeroproxy.__version__}\n")
    for word in ("data plane: ", "loop: ", "python 3."):
        assert word in done.stdout


@pytest.mark.parametrize("command", [(), ("run",), ("check",)])
def test_a_bad_configuration_is_one_line_and_exit_2(command, config):
    path = config(GOOD + "[upstream.pool]\nprewarn = 1\n", "prod.toml")
    done = run_cli(*command, "-c", path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"zeroproxy: {path}:5: upstream[0].pool.prewarn: unknown key; "
        'did you mean "prewarm"?\n'
    )  # fmt: skip


def test_a_missing_file_is_one_line_and_exit_2():
    done = run_cli("-c", "no/such.toml")
    assert done.returncode == 2
    assert done.stderr == "zeroproxy: no/such.toml: cannot be read: No such file or directory\n"


@pytest.mark.parametrize("arguments", [(), ("run",), ("--nope",), ("nope",)])
def test_bad_usage_is_exit_2(arguments):
    done = run_cli(*arguments)
    assert done.returncode == 2
    assert "usage: zeroproxy" in done.stderr


def test_saying_something_imports_nothing_heavy():
    code = (
        "import sys, zeroproxy.commands.main as c\n"
        "try: c.main(['--help'])\n"
        f"finally: print('LOADED', sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("LOADED []\n")


def mask_while(arguments: str, patch: str) -> str:
    """The output of `zeroproxy ARGUMENTS`; `patch` prints the signals that are blocked."""
    code = (
        "import signal, sys, types\n"
        "import zeroproxy.__main__ as m\n"
        "assert not [n for n in sys.modules if n.startswith('zeroproxy.commands')]\n"
        "def show(*_, **__): print(sorted(map(int, signal.pthread_sigmask(0, [])))); return 0\n"
        f"{patch}\n"
        f"sys.argv = ['zeroproxy', {arguments}]\n"
        "sys.exit(m.run())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_signals_that_would_kill_wait_before_anything_is_imported():
    """A11: SIGHUP in the first 80 ms killed it; most of that were imports."""
    early = str(sorted(map(int, EARLY)))
    late = "sys.modules['zeroproxy.commands.main'] = types.SimpleNamespace(main=show)"
    assert mask_while("'-c', 'x'", late) == early
    proxy = "import zeroproxy.commands.main as c; c.run_proxy = show"
    assert mask_while("'-c', 'x'", proxy) == early


def test_what_is_no_proxy_dies_of_them_as_before():
    patch = "import zeroproxy.commands.main as c; c.print_version = show"
    assert mask_while("'version'", patch) == "[]"


def test_an_unbuilt_data_plane_is_a_sentence(monkeypatch, capsys, config):
    monkeypatch.delitem(sys.modules, "zeroproxy.server.worker", raising=False)
    monkeypatch.setitem(sys.modules, "zeroproxy._fast.engine.engine", None)
    assert cli.main(["-c", config(OFF + GOOD)]) == 1
    assert (
        "the compiled data plane is missing (zeroproxy._fast.engine.engine)"
        in capsys.readouterr().err
    )
    assert cli.main(["version"]) == 0
    assert "data plane: not built" in capsys.readouterr().out


def test_an_interrupt_is_quiet(monkeypatch, capsys):
    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "dispatch", interrupt)
    assert cli.main(["version"]) == 130
    assert capsys.readouterr() == ("", "")


# ---------------------------------------------------------------- the package's names


def test_public_names_are_listed_and_resolve():
    assert set(zeroproxy.__all__) <= set(dir(zeroproxy))
    for name in set(zeroproxy.__all__) - {"Proxy"}:
        assert getattr(zeroproxy, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = zeroproxy.nothing


# ---------------------------------------------------------------- check


def rows(text: str) -> list[tuple[str, str, str]]:
    return asyncio.run(check.examine(parse_config(text))).rows


def said(text: str, key: str) -> tuple[str, str]:
    (row,) = [row for row in rows(text) if row[0] == key]
    return row[1:]


def test_check_says_what_it_would_do(config, capsys):
    path = config(OFF + GOOD)
    assert cli.main(["check", "-c", path]) == 0
    out = capsys.readouterr().out
    assert f"{path}: the configuration is valid" in out
    assert "would listen on 127.0.0.1:0, no admin" in out
    assert 'would send everything to "a"\n"a": 1 endpoint(s), least_inflight' in out
    assert all(line == line.rstrip() for line in out.splitlines())


def test_an_endpoint_that_is_down_is_a_warning(config, capsys):
    assert said(OFF + GOOD, "upstream a") == ("warning", "http://127.0.0.1:1: Connection refused")
    assert cli.main(["check", "-c", config(OFF + GOOD)]) == 0


def test_a_port_in_use_is_a_warning_for_the_proxy_itself_may_run_there(config, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = OFF.replace(":0", f":{taken.getsockname()[1]}") + GOOD
        assert cli.main(["check", "-c", config(text)]) == 0
    out = capsys.readouterr().out
    assert "Address already in use; as it should be if this proxy runs already" in out
    assert out.endswith(": the configuration is valid; 2 warnings\n")


def test_a_unix_socket_in_use_is_a_warning_too_and_one_of_another_kind_no(tmp_path):
    text = OFF.replace("127.0.0.1:0", f"unix:{tmp_path}/x") + GOOD
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(f"{tmp_path}/x")
        taken.listen()
        state, says = said(text, "server.listen")
    assert (state, "another process listens there" in says) == ("warning", True)
    (tmp_path / "x").unlink()
    (tmp_path / "x").write_text("")
    assert said(text, "server.listen")[0] == "error"
    for inherited in ("fd:3", "systemd:http"):
        assert said(OFF.replace("127.0.0.1:0", inherited) + GOOD, "server.listen")[0] == "ok"


def test_errors_and_warnings_are_counted_in_the_closing_line(config, capsys, tmp_path):
    path = config(OFF + GOOD + f'[log]\naccess = "jsonl:{tmp_path}/no/x"\n'
                  f'[metering]\nledger = "{tmp_path}/no/u.sqlite"\n')  # fmt: skip
    assert cli.main(["check", "-c", path]) == 2
    out = capsys.readouterr().out
    assert out.endswith(f"{path}: 2 errors, 1 warning: it would not start\n")
    assert "valid" not in out


def test_offline_tries_no_port_no_name_no_endpoint_and_no_server(config, capsys, monkeypatch):
    def no(*_: object, **__: object) -> None:
        raise AssertionError("it must not try")

    monkeypatch.setattr(socket.socket, "bind", no)
    monkeypatch.setattr(socket.socket, "connect", no)
    monkeypatch.setattr(socket, "getaddrinfo", no)
    text = OFF + GOOD.replace("http://127.0.0.1:1", "http://no.such.test:1")
    text += '[metering]\nsinks = [{ kind = "redis", url = "redis://no.such.test" }]\n'
    assert cli.main(["check", "--offline", "-c", config(text)]) == 0
    out = capsys.readouterr().out
    assert "server.listen" not in out
    assert "upstream" not in out
    assert "no port, name, endpoint or server was tried (--offline)\n" in out


def test_offline_still_reads_the_configuration_and_its_files(config, capsys):
    assert cli.main(["check", "--offline", "-c", config(OFF + GOOD + "[sever]\n")]) == 2
    text = OFF.replace('[admin]\nlisten = ""', '[admin]\ntoken_file = "/no/t"') + GOOD
    assert cli.main(["check", "--offline", "-c", config(text)]) == 2


def test_spans_without_their_packages_are_an_error(monkeypatch):
    text = OFF + GOOD + '[otel]\nendpoint = "http://127.0.0.1:4318/v1/traces"\n'
    assert said(text, "otel.endpoint")[0] == "ok"
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    for name in [
        n
        for n in sys.modules
        if n.startswith(("opentelemetry.", "zeroproxy.metering.otel.span_export"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    state, says = said(text, "otel.endpoint")
    assert (state, "pip install 'opentelemetry-" in says) == ("error", True)


ROUTED = GOOD.replace('"a"', '"b"') + 'models = ["b", { name = "x", serves = "Y" }]\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD, 'would send everything to "a"'),
        (GOOD + ROUTED, 'would send models b, x (as Y) to "b", all else to "a"'),
        (ROUTED, 'would send models b, x (as Y) to "b", no other model'),
        (GOOD + f"models = {[str(k) for k in range(10)]}\n",
         'would send models 0, 1, 2, 3, 4, 5, 6, 7 and 2 more to "a", no other model'),
    ],
)  # fmt: skip
def test_check_says_which_upstream_gets_what(text, says):
    assert check_report.describe(parse_config(OFF + text))[1] == says


def test_what_is_to_be_installed_is_what_the_project_names():
    """No index has a package zeroproxy of ours: an extra of it would be a stranger's."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert {e: tuple(extras[e]) for e in ("jwt", "otel", "postgres", "redis")} == PACKAGES
    for path in [
        *Path("zeroproxy").rglob("*.py"),
        *Path("docs").glob("*.md"),
        *Path("conf").iterdir(),
    ]:
        assert "zeroproxy[" not in path.read_text(), path


def test_a_unix_socket_needs_its_folder_and_leaves_nothing_behind(tmp_path):
    text = OFF.replace("127.0.0.1:0", f"unix:{tmp_path}/no/x.sock") + GOOD
    assert said(text, "server.listen")[0] == "error"
    text = text.replace("/no/", "/")
    assert said(text, "server.listen") == (
        "ok", f"unix:{tmp_path}/x.sock can be listened on",
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_an_access_log_needs_its_folder_and_is_not_made(tmp_path):
    text = OFF + GOOD + f'[log]\naccess = "jsonl:{tmp_path}/no/x"\n'
    assert said(text, "log.access") == ("error", f"{tmp_path}/no does not exist")
    text = text.replace("/no/", "/")
    assert said(text, "log.access") == ("ok", f"{tmp_path}/x can be written")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x").mkdir()
    assert said(text, "log.access") == ("error", f"{tmp_path}/x is a directory")


def test_more_connections_than_descriptors_is_a_warning():
    text = OFF + GOOD + "[limits]\nconnections = 1048576\n"
    state, says = said(text, "limits.connections")
    assert state == "warning"
    assert "1048576 were asked for" in says


async def test_a_sink_whose_file_holds_no_secret_is_named_once(tmp_path):
    path = tmp_path / "url"
    path.write_text("\n")
    sinks = f'sinks = [{{ kind = "redis", url_file = "{path}" }}]\n'
    found = await check.examine(parse_config(f"{OFF}[metering]\n{sinks}{GOOD}"), is_offline=True)
    told = [row for row in found.rows if row[0] == "sink redis"]
    assert told == [("sink redis", "error", f"{path}: url_file: is empty")]


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "ok", "{} answers; GET /health returned 200"),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", "ok", "{} answers; it has no /health"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "warning", "{}: GET /health returned 503"),
        (b"SSH-2.0-x\r\n", "warning", "{}: GET /health is not answered in valid HTTP"),
        (b"", "warning", "{}: the connection was closed without an answer"),
        (b"x" * 100_000, "warning", "{}: GET /health is not answered in valid HTTP"),
    ],
    ids=["200", "404", "503", "no http", "nothing", "endless line"],
)
async def test_health_of_an_endpoint_is_reported(answer, state, says):
    asked = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        found = await check.examine(parse_config(OFF + GOOD.replace("http://127.0.0.1:1", url)))
    told = [row for row in found.rows if row[0] == "upstream a"]
    assert told[0] == ("upstream a", state, says.format(url))
    unknown = "what server it is is not known, GET /v1/models returned"
    assert [unknown in row[2] for row in told[1:]] == [True] * (state == "ok")
    assert asked[0].startswith(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:")


def test_brackets_in_names_are_not_taken_for_markup_on_a_terminal(config):
    path = config(OFF.replace("127.0.0.1", "[::1]") + GOOD, "a[/b]/x.toml")
    status, shown = shown_by([sys.executable, "-m", "zeroproxy", "check", "-c", path])
    assert status in (0, 2)  # 2 where there is no IPv6
    assert b"a[/b]" in shown.replace(b"\r\n", b"")
    assert b"[::1]:0" in shown
    assert b"Traceback" not in shown


def test_the_samples_describe_themselves():
    for path in sorted(Path("conf").glob("*.toml")):
        assert check_report.describe(parse_config(path.read_text()))[0].startswith(
            "would listen on "
        )


def test_a_port_that_is_not_allowed_names_the_capability():
    error = PermissionError(errno.EACCES, "Permission denied")
    assert str(refusal("0.0.0.0:443", error)) == (
        "cannot listen on 0.0.0.0:443: Permission denied "
        "(a port below 1024 needs CAP_NET_BIND_SERVICE)"
    )
    assert str(refusal("unix:/run/x", error)).endswith(": Permission denied")
