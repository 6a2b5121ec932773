"""A configuration from arguments: the same checks as a file, and complaints that name arguments."""

import pytest

from zeroproxy.commands import one_line
from zeroproxy.commands.main import COMMANDS, build_parser
from zeroproxy.commands.main import main as run
from zeroproxy.config.arguments import Argument, Served, configure
from zeroproxy.config.load import parse_config
from zeroproxy.errors import ConfigError

URL = "http://127.0.0.1:8000"
FILE = '[limits]\nconnections = 7\n[[upstream]]\nname = "vllm"\nmodels = ["m"]\n'


def read(*words: str):
    argv = one_line.with_command(list(words), COMMANDS)
    return one_line.read_to(build_parser(argv).parse_args(argv))


def at_exec(file="", others=(), preset="", usual="vllm"):
    return configure(Served("exec", ["unix:/x/server.sock"], preset, usual), others, file)


def complaint(*words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(*words)
    return str(caught.value)


def test_an_address_alone_is_what_a_file_with_it_is():
    same = parse_config(f'[[upstream]]\nname = "default"\nendpoints = ["{URL}"]\n')
    assert read(URL) == same


def test_every_option_sets_its_key():
    config = read("--listen", "127.0.0.1:1", URL, "--listen", "unix:/x/y", "--admin", "",
                  "--ledger", "/x/l.sqlite", "--preset", "vllm")  # fmt: skip
    same = parse_config(
        '[server]\nlisten = ["127.0.0.1:1", "unix:/x/y"]\n[admin]\nlisten = ""\n'
        f'[metering]\nledger = "/x/l.sqlite"\n'
        f'[[upstream]]\nname = "vllm"\npreset = "vllm"\nendpoints = ["{URL}"]\n'
    )
    assert config == same
    assert config.upstream[0].pool.prewarm == 8  # by the preset


def test_several_addresses_are_endpoints_of_one_upstream():
    assert read(URL, "http://127.0.0.1:8001").upstream[0].endpoints == (
        URL, "http://127.0.0.1:8001",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([f"{URL}/v1"], f'URL: "{URL}/v1": an endpoint has no path; paths are passed through'),
        (["127.0.0.1:8000"], 'URL: "127.0.0.1:8000" is no endpoint: http://HOST:PORT, '
                             "https://HOST:PORT or unix:/path"),
        ([URL, URL], f"URL: {URL} is there twice"),
        (["http://127.0.0.1:8080"], "URL: http://127.0.0.1:8080 is this proxy's own listener"),
        ([URL, "--listen", ":x"], '--listen: ":x" is no address: HOST:PORT, [IPV6]:PORT, '
                                  "unix:/path, fd:N or systemd:NAME"),
        ([URL, "--admin", "fd:3"], "--admin: fd:N is for server.listen; give HOST:PORT or "
                                   "unix:/path"),
        ([URL, "--preset", "vlm"], '--preset: "vlm" is none of vllm, tgi, sglang, llamacpp, '
                                   "fastchat, ollama, ktransformers, openai"),
    ],
)  # fmt: skip
def test_a_complaint_names_the_argument(words, expected):
    assert complaint(*words) == expected


@pytest.mark.parametrize(
    "words",
    [[URL], ["--listen", ":1", URL], ["unix:/x"], ["10.0.0.1:80"], ["--preset", "vllm", "h:1"]],
)
def test_an_address_needs_no_command(words):
    assert one_line.with_command(words, COMMANDS) == [one_line.TO, *words]


@pytest.mark.parametrize(
    "words",
    [["-c", "x.toml"], ["--config", "a/b"], ["check", "-c", "x.toml"], ["bench", "-u", URL],
     ["sim", "--listen", "127.0.0.1:1"], ["--version"], ["-c", "x.toml", "run"], []],
)  # fmt: skip
def test_other_commands_stay_as_they_are(words):
    assert one_line.with_command(words, COMMANDS) == words


def test_a_file_without_its_option_is_explained(capsys):
    assert run(["proxy.toml"]) == 2
    assert capsys.readouterr().err == (
        "zeroproxy: proxy.toml: a file of the configuration is given with -c proxy.toml\n"
    )


def test_a_file_is_completed_by_what_is_started(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(FILE)
    config = at_exec(str(path), [Argument("--listen", ("server", "listen"), ["127.0.0.1:1"])])
    upstream = config.upstream[0]
    assert (upstream.name, upstream.preset) == ("vllm", "vllm")
    assert upstream.endpoints == ("unix:/x/server.sock",)
    assert config.listens() == ("127.0.0.1:1",)
    assert config.limits.connections == 7


@pytest.mark.parametrize(
    ("line", "preset", "expected"),
    [("", "", "vllm"), ('preset = "tgi"', "", "tgi"), ('preset = "tgi"', "openai", "openai")],
)
def test_the_option_goes_before_the_file_and_the_file_before_the_kind(
    tmp_path, line, preset, expected
):
    path = tmp_path / "x.toml"
    path.write_text(f"{FILE}{line}\n")
    assert at_exec(str(path), preset=preset).upstream[0].preset == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'[[upstream]]\nname = "a"\nendpoints = ["{URL}"]\n',
         "1: upstream: each has endpoints: leave them out of the one that is started here"),
        ('[[upstream]]\nname = "a"\nmodels = ["m"]\n[[upstream]]\nname = "b"\n',
         "4: upstream[1].endpoints: is missing: only one upstream can be started here"),
        ("[upstream]\nname = 1\n",
         "1: upstream: expected an array of tables: write [[upstream]] (two brackets)"),
        ("server = 7\n", "1: server: expected table, got `int`"),
        ("[[upstream]]\npreset = 'vllm'\n", "1: upstream[0].name: is missing"),
    ],
)  # fmt: skip
def test_what_a_file_gets_wrong_is_named_in_the_file(tmp_path, text, expected):
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        at_exec(str(path), [Argument("--listen", ("server", "listen"), ["127.0.0.1:1"])])
    assert str(caught.value) == f"{path}:{expected}"
