"""Bad configuration gets one line: file, line, key, what is wrong, nearest spelling."""

import pytest

from zeroproxy.config_load import load_config, parse_config
from zeroproxy.errors import ConfigError

GOOD = '[[upstream]]\nname = "a"\nendpoints = ["http://127.0.0.1:8000"]\n'


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as found:
        parse_config(text, "x.toml")
    return str(found.value)


def test_the_least_that_works():
    config = parse_config(GOOD)
    assert config.listens() == ("127.0.0.1:8080",)
    assert config.upstream[0].all_endpoints()[0].weight == 1
    assert config.upstream[0].timeouts.first_byte == 600.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD + '[server]\nlisten = "127.0.0.1:1"\nworkres = 2\n',
         'x.toml:6: server.workres: unknown key; did you mean "workers"?'),
        (GOOD + "[upstream.pool]\nprewarn = 1\nmax_idel = 3\n",
         "x.toml:5: upstream[0].pool.prewarn: unknown key"),
        (GOOD + 'timeouts = { connect = 2.0, first_bite = 1.0 }\n',
         'x.toml:4: upstream[0].timeouts.first_bite: unknown key; did you mean "first_byte"?'),
        (GOOD + "[sever]\n", 'x.toml:4: sever: unknown key; did you mean "server"?'),
        (GOOD + '[limits]\nheader_count = "many"\n',
         "x.toml:5: limits.header_count: expected `int`, got `str`"),
        (GOOD + "[limits]\nheader_count = 1000\n",
         "x.toml:5: limits.header_count: expected `int` <= 256"),
        (GOOD + "[limits]\nheader_timeout = -1.0\n",
         "x.toml:5: limits.header_timeout: expected `float` >= 0"),
        (GOOD + 'balance = "fastest"\n',
         'x.toml:4: upstream[0].balance: "fastest" is not supported by this version'),
        (GOOD + 'balance = "magic"\n',
         'x.toml:4: upstream[0].balance: "magic" is none of least_inflight, round_robin'),
        (GOOD + "[server]\nworkers = 4\n", "x.toml:5: server.workers: more than one worker"),
        (GOOD + '[server]\nlisten = "8080"\n', 'x.toml:5: server.listen: "8080" is no address'),
        (GOOD + '[server]\nlisten = ["127.0.0.1:1", "::1:80"]\n',
         'x.toml:5: server.listen[1]: "::1:80" is no address'),
        (GOOD + "[server]\nlisten = [\n", "x.toml:"),
        (GOOD + 'x = "unclosed\n', "x.toml:4: "),
        ("[server]\nworkers = 1\n", "x.toml: upstream: is missing"),
        ("upstream = []\n", "x.toml:1: upstream: at least one [[upstream]] is needed"),
        ('[[upstream]]\nendpoints = ["http://a:1"]\n', "x.toml:1: upstream[0].name: is missing"),
        ('[[upstream]]\nname = "a"\nendpoints = []\n',
         "x.toml:3: upstream[0].endpoints: at least one endpoint is needed"),
        (GOOD.replace("http:", "https:"), "https:// endpoints are not supported by this version"),
        (GOOD.replace("http://127.0.0.1:8000", "127.0.0.1:8000"), "is no endpoint"),
        (GOOD.replace(":8000", ":8000/v1"), "an endpoint has no path"),
        (GOOD.replace('"]', '", "http://127.0.0.1:8000"]'), "is there twice"),
        (GOOD + GOOD, "x.toml:4: upstream[1]: more than one upstream"),
        (GOOD + "[auth]\n", "x.toml:4: auth: API keys are not supported by this version"),
        (GOOD + 'health = { path = "/health" }\n',
         "x.toml:4: upstream[0].health: active health checks are not supported"),
        (GOOD + '[log]\naccess = "file"\n', "x.toml:5: log.access: expected"),
        (GOOD + "[limits]\nheader_line_bytes = 32768\nheader_bytes = 2048\n",
         "x.toml:5: limits.header_line_bytes: is larger than limits.header_bytes"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_where_it_is(text, says):
    assert complaint(text).startswith(says) or says in complaint(text)


def test_the_environment_fills_strings(monkeypatch):
    monkeypatch.setenv("VLLM", "10.0.0.7:8000")
    config = parse_config(GOOD.replace("127.0.0.1:8000", "${VLLM}"))
    assert config.upstream[0].all_endpoints()[0].url == "http://10.0.0.7:8000"


def test_a_missing_variable_is_named():
    text = GOOD.replace("127.0.0.1:8000", "${NO_SUCH_NAME}")
    assert complaint(text) == (
        "x.toml:3: upstream[0].endpoints[0]: the environment has no NO_SUCH_NAME"
    )


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load_config(tmp_path / "none.toml")


def test_weights_and_urls_may_be_mixed():
    config = parse_config(
        '[[upstream]]\nname = "a"\n'
        'endpoints = ["http://h:1", { url = "unix:/run/v.sock", weight = 3 }]\n'
    )
    assert [(e.url, e.weight) for e in config.upstream[0].all_endpoints()] == [
        ("http://h:1", 1), ("unix:/run/v.sock", 3),
    ]  # fmt: skip
