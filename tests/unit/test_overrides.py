"""--set and ZEROPROXY_SECTION__KEY: which value counts, and where an error stands."""

import pytest

from zeroproxy.config.load import parse_config
from zeroproxy.config.overrides import Override, from_environment, from_option
from zeroproxy.errors import ConfigError
from zeroproxy.server.config_diff import is_live

TEXT = """\
[server]
listen = "127.0.0.1:1"

[[upstream]]
name = "vllm"
endpoints = ["http://127.0.0.1:8000"]
models = ["a"]

[[upstream]]
name = "tgi.two"
endpoints = ["http://127.0.0.1:8001"]
"""


def read(*options, environ=None):
    given = [*from_environment(environ or {}), *map(from_option, options)]
    return parse_config(TEXT, "x.toml", given)


def complaint(*options, environ=None):
    with pytest.raises(ConfigError) as found:
        read(*options, environ=environ)
    return str(found.value)


@pytest.mark.parametrize(
    ("option", "key", "value"),
    [
        ("server.listen=:8080", lambda c: c.listens(), (":8080",)),
        ('server.listen=[":1", ":2"]', lambda c: c.listens(), (":1", ":2")),
        ("server.via=false", lambda c: c.server.via, False),
        ("server.drain_timeout=2m", lambda c: c.server.drain_timeout, 120.0),
        ("limits.body_bytes=1MB", lambda c: c.limits.body_bytes, 1 << 20),
        ("admin.token=12345", lambda c: c.admin.token, "12345"),
        ("otel.service_name=a=b ${NO}", lambda c: c.otel.service_name, "a=b ${NO}"),
        ("upstream[1].balance=fastest", lambda c: c.upstream[1].balance, "fastest"),
        ("upstream.vllm.admission.max_inflight=7",
         lambda c: c.upstream[0].admission.max_inflight, 7),
        ('upstream."tgi.two".preset=tgi', lambda c: c.upstream[1].preset, "tgi"),
        ('upstream[0].endpoints=["http://h:1"]', lambda c: c.upstream[0].endpoints, ("http://h:1",)),
        ('otel.headers={ authorization = "x" }', lambda c: c.otel.headers, {"authorization": "x"}),
        ("metering.ledger=", lambda c: c.metering.ledger, ""),
    ],
)  # fmt: skip
def test_an_option_goes_over_the_file(option, key, value):
    assert key(read(option)) == value


def test_the_last_option_counts_and_options_go_over_variables():
    variables = {"ZEROPROXY_SERVER__DRAIN_TIMEOUT": "1", "ZEROPROXY_SERVER__VIA": "false"}
    config = read("server.drain_timeout=2", "server.drain_timeout=3", environ=variables)
    assert (config.server.drain_timeout, config.server.via) == (3.0, False)


def test_a_variable_names_an_upstream_by_number_or_name():
    variables = {
        "ZEROPROXY_UPSTREAM__0__PRESET": "vllm",
        "ZEROPROXY_UPSTREAM__VLLM__ADMISSION__QUEUE": "5",
    }
    upstream = read(environ=variables).upstream[0]
    assert (upstream.preset, upstream.admission.queue) == ("vllm", 5)


def test_variables_that_are_not_ours_are_left_alone():
    """Kubernetes sets these for a service called zeroproxy; ZEROPROXY_JOBS is for a build."""
    theirs = {"ZEROPROXY_SERVICE_HOST": "10.0.0.1", "ZEROPROXY_PORT_8080_TCP": "tcp://10.0.0.1:8080",
              "ZEROPROXY_JOBS": "2", "ZEROPROXY_": "x", "PATH": "/bin"}  # fmt: skip
    assert from_environment(theirs) == []


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("server.lisen=:1", '--set: server.lisen: unknown key; did you mean "listen"?'),
        ("server.listen=8080", "--set: server.listen: expected text, got 8080; did you mean"),
        ("server.listen=[:1", "--set: server.listen: expected an array or a table as TOML"),
        ("server.drain_timeout=soon", "--set: server.drain_timeout: expected seconds, as 5"),
        ("limits.header_count=1000", "--set: limits.header_count: expected `int` <= 256"),
        ("server=x", "--set: server: expected table"),
        (
            "upstream[2].preset=vllm",
            '--set: upstream: has no element "2": it has 2 (vllm, tgi.two)',
        ),
        ("upstream.sim.preset=vllm", '--set: upstream: has no element "sim"'),
        ("upstream[0].preset=vlm", '--set: upstream[0].preset: "vlm" is none of vllm'),
        ("server.listen.x=1", "--set: server.listen"),
    ],
)
def test_an_error_names_the_option_and_the_key(option, says):
    assert complaint(option).startswith(says)


@pytest.mark.parametrize("option", ["", "x", "=x", "server..listen=1", ".server=1", "a b=1"])
def test_an_option_that_is_no_assignment_is_refused(option):
    with pytest.raises(ConfigError, match="--set: expected KEY=VALUE"):
        from_option(option)


def test_an_error_names_the_variable():
    variables = {"ZEROPROXY_SERVER__LISEN": ":1"}
    assert complaint(environ=variables) == (
        'ZEROPROXY_SERVER__LISEN: server.lisen: unknown key; did you mean "listen"?'
    )


def test_an_error_beside_an_override_still_has_its_line():
    with pytest.raises(ConfigError) as found:
        parse_config(TEXT + 'preset = "vlm"\n', "x.toml", [from_option("server.via=false")])
    assert str(found.value).startswith("x.toml:12: upstream[1].preset: ")


def test_keys_that_only_fit_together_name_the_override_at_fault():
    assert complaint("limits.header_line_bytes=32768", "limits.header_bytes=2048").startswith(
        "--set: limits.header_line_bytes: is larger than limits.header_bytes"
    )


def test_a_reload_reads_the_overrides_again(tmp_path):
    from zeroproxy.commands.source import Source

    path = tmp_path / "x.toml"
    path.write_text(TEXT)
    source = Source(str(path), (Override(("server", "drain_timeout"), "9s", "--set"),))
    assert source.load().server.drain_timeout == 9.0
    path.write_text(TEXT + 'preset = "tgi"\n')
    again = source.load()
    assert (again.server.drain_timeout, again.upstream[1].preset) == (9.0, "tgi")
    assert is_live("server.drain_timeout")
