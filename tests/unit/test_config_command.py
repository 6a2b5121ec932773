"""`zeroproxy config`: reference, examples, dump and diff; the file that is read without -c."""

import tomllib
from pathlib import Path

import pytest

from zeroproxy.commands import main as cli
from zeroproxy.commands import source as sources
from zeroproxy.config.load import parse_config

TEXT = """\
[admin]
token = "hunter2"

[auth]
key = [{ sha256 = "DIGEST", name = "ci" }]

[otel]
headers = { authorization = "hunter2" }

[metering]
sinks = [{ kind = "redis", url = "redis://:hunter2@h" }]

[[upstream]]
name = "vllm"
endpoints = ["http://127.0.0.1:8000"]
preset = "llamacpp"
api_key = "hunter2"
timeouts = { connect = "5s" }
""".replace("DIGEST", ("c0ffee" * 11)[:64])


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(TEXT)
    return str(path)


@pytest.fixture
def run(capsys):
    def call(*arguments):
        status = cli.main(list(arguments))
        done = capsys.readouterr()
        return status, done.out, done.err

    return call


def test_the_reference_is_the_file_of_the_project(run):
    assert run("config", "reference") == (0, Path("conf/reference.toml").read_text(), "")


@pytest.mark.parametrize("name", ["minimal", "sidecar", "prod"])
def test_an_example_is_a_configuration(run, name):
    status, text, _ = run("config", "example", name)
    assert (status, text) == (0, Path(f"conf/{name}.toml").read_text())
    assert parse_config(text).upstream


@pytest.mark.parametrize(("name", "says"), [(["nope"], 'there is no "nope"'), ([], "a NAME is")])
def test_an_example_that_is_not_there_names_those_that_are(run, name, says):
    status, out, errors = run("config", "example", *name)
    assert (status, out) == (2, "")
    assert says in errors
    assert "minimal, prod, reference, sidecar" in errors


def test_a_dump_is_toml_with_what_is_in_effect_and_no_secret(run, path):
    status, text, _ = run("config", "dump", "-c", path, "--set", "server.drain_timeout=1m")
    assert status == 0
    assert "hunter2" not in text
    assert "c0ffee" not in text
    shown = tomllib.loads(text)
    assert shown["server"]["drain_timeout"] == 60.0
    assert shown["upstream"][0]["timeouts"]["connect"] == 5.0
    assert shown["upstream"][0]["health"]["path"] == "/health"
    assert shown["admin"]["token"] == shown["upstream"][0]["api_key"] == "***"
    assert shown["otel"]["headers"] == {"authorization": "***"}
    assert shown["metering"]["sinks"][0]["kind"] == "redis"


def test_a_dump_without_secrets_loads_again(run, tmp_path):
    first = tmp_path / "a.toml"
    first.write_text(run("config", "example", "sidecar")[1])
    second = tmp_path / "b.toml"
    second.write_text(run("config", "dump", "-c", str(first))[1])
    assert run("config", "diff", "-c", str(first), "--from", str(second)) == (0, "", "")


def test_a_diff_from_the_defaults_names_both_values(run, path):
    status, text, _ = run("config", "diff", "-c", path)
    assert status == 0
    lines = text.splitlines()
    assert "upstream[0].timeouts.connect = 5.0  # default 2.0" in lines
    assert 'admin.token = "***"  # default ""' in lines
    assert not [line for line in lines if line.startswith("limits.")]
    assert 'upstream[0].name = "vllm"' in lines
    assert [line for line in lines if line.startswith("auth.")] == [
        'auth.key[0].sha256 = "***"  # default ""', 'auth.key[0].name = "ci"  # default ""',
    ]  # fmt: skip
    assert not [line for line in lines if line.startswith(("admin.listen", "metering.ledger"))]
    assert "hunter2" not in text


def test_a_diff_of_two_files_has_the_status_of_diff(run, path, tmp_path):
    other = tmp_path / "y.toml"
    other.write_text(
        TEXT.replace('"5s"', "6.0").replace('api_key = "hunter2"', 'api_key = "other"')
    )
    status, text, _ = run("config", "diff", "-c", str(other), "--from", path)
    assert status == 1
    assert text.splitlines() == [
        '- upstream[0].api_key = "***"',
        '+ upstream[0].api_key = "***"',
        "- upstream[0].timeouts.connect = 5.0",
        "+ upstream[0].timeouts.connect = 6.0",
    ]
    assert run("config", "diff", "-c", path, "--from", path)[0] == 0


def test_a_file_is_needed(run, monkeypatch):
    monkeypatch.setattr(sources, "DEFAULT_FILE", "/no/such/file")
    assert run("config", "dump") == (2, "", "zeroproxy: config dump: -c FILE is needed\n")


def test_the_environment_or_the_usual_place_names_the_file(run, path, monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "DEFAULT_FILE", path)
    assert 'name = "vllm"' in run("config", "dump")[1]
    named = tmp_path / "z.toml"
    named.write_text(TEXT.replace('"vllm"', '"named"'))
    monkeypatch.setenv("ZEROPROXY_CONFIG", str(named))
    assert 'name = "named"' in run("config", "dump")[1]
    assert 'name = "vllm"' in run("-c", path, "config", "dump")[1]


def test_variables_reach_every_command(run, path, monkeypatch):
    monkeypatch.setenv("ZEROPROXY_SERVER__LISTEN", "127.0.0.1:7")
    assert 'listen = "127.0.0.1:7"' in run("config", "dump", "-c", path)[1]
    assert "would listen on 127.0.0.1:7" in run("check", "--offline", "-c", path)[1]


def test_set_is_refused_where_no_configuration_is_read(run):
    with pytest.raises(SystemExit) as ended:
        run("--set", "server.via=false", "version")
    assert ended.value.code == 2
