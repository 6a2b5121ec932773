"""Bad configuration gets one line: file, line, key, what is wrong, nearest spelling."""

import pytest

from zeroproxy.config.auth import Auth, Key
from zeroproxy.config.load import load_config, parse_config
from zeroproxy.config.secret_files import all_keys, resolve
from zeroproxy.errors import ConfigError

GOOD = '[[upstream]]\nname = "a"\nendpoints = ["http://127.0.0.1:8000"]\n'
#: One endpoint per line, from line 4 on.
SECURE = GOOD.replace("http:", "https:")
EACH = '[[upstream]]\nname = "a"\nendpoints = [\n{}\n]\n'


#: One sink per line, from line 6 on.
SINKS = GOOD + "[metering]\nsinks = [\n{}\n]\n"


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
        (GOOD + f'api_key = "{"k" * 4097}"\n', "x.toml:4: upstream[0].api_key: expected"),
        (GOOD + "[sever]\n", 'x.toml:4: sever: unknown key; did you mean "server"?'),
        (GOOD + '[limits]\nheader_count = "many"\n',
         'x.toml:5: limits.header_count: expected a whole number, got "many"'),
        (GOOD + 'timeouts = { connect = "5 parsecs" }\n',
         'x.toml:4: upstream[0].timeouts.connect: expected seconds, as 5, "500ms" or "1h30m", got '
         '"5 parsecs"'),
        (GOOD + 'timeouts = { connect = "" }\n', 'or "1h30m", got ""'),
        (GOOD + 'timeouts = { connect = "10MB" }\n', "connect: expected seconds"),
        (GOOD + '[limits]\nbody_bytes = "10ms"\n',
         'x.toml:5: limits.body_bytes: expected bytes, as 65536, "64KiB" or "10MB", got "10ms"'),
        (GOOD + '[limits]\nbody_bytes = "0.3b"\n', "expected a whole number of bytes"),
        (GOOD + '[limits]\nbody_bytes = "' + "9" * 40 + '"\n',
         'or "10MB", got a text'),
        (GOOD + '[limits]\nheader_count = "10s"\n', 'a whole number, got "10s"'),
        (GOOD + "[server]\nlisten = 8080\n",
         'x.toml:5: server.listen: expected text, got 8080; did you mean "127.0.0.1:8080" or'),
        (GOOD + "breaker = { error_rate = 50 }\n",
         "upstream[0].breaker.error_rate: expected a share up to 1, got 50 (50 % is 0.5)"),
        (GOOD + "breaker = { error_rate = 1.5 }\n", "expected a share up to 1, got 1.5"),
        (GOOD + "breaker = { failures = -1 }\n", "failures: expected `int` >= 0, got -1"),
        (GOOD + '[server]\nlisten = ":1"\nlisten = ":2"\n', "x.toml:6:14: listen is there twice"),
        (GOOD + "[server]\nvia = true\n[server]\n", "x.toml:6:8: [server] is there twice"),
        (GOOD + "[[server]]\n[server]\n", "x.toml:5:8: [server] is there twice"),
        (GOOD + "x = \"\"\"unclosed\n", "the string is not closed"),
        (GOOD + "x = 'unclosed\n", "x.toml:5:1: the string is not closed"),
        (GOOD + '[metering]\nledger = "a\\u0000b"\n', "x.toml:5: metering.ledger: holds a NUL"),
        ("[auth.key]\nsha256 = '1'\n" + GOOD,
         "x.toml:1: auth.key: expected an array of tables: write [[auth.key]] (two brackets)"),
        (GOOD + '[server]\nlisten = "127.0.0.1:8000"\n',
         "x.toml:3: upstream[0].endpoints[0]: http://127.0.0.1:8000 is this proxy's own listener"),
        (GOOD + '[server]\nlisten = ["127.0.0.1:1", ":8000"]\n', "is this proxy's own listener"),
        (GOOD.replace("127.0.0.1", "[::1]") + '[server]\nlisten = "[::1]:8000"\n', "own listener"),
        (GOOD.replace("127.0.0.1", "localhost") + '[server]\nlisten = "0.0.0.0:8000"\n',
         "http://localhost:8000 is this proxy's own listener"),
        (GOOD.replace("127.0.0.1", "Box") + '[server]\nlisten = "box:8000"\n', "own listener"),
        (EACH.format('"unix:/run/a"') + '[server]\nlisten = "unix:/run/a"\n', "own listener"),
        (GOOD + '[admin]\nlisten = "127.0.0.1:8000"\n', "is this proxy's own admin listener"),
        (EACH.format('"http://127.0.0.1"') + '[server]\nlisten = ":80"\n', "own listener"),
        (GOOD + "[limits]\nheader_count = 1000\n",
         "x.toml:5: limits.header_count: expected `int` <= 256"),
        (GOOD + "[limits]\nheader_timeout = -1.0\n",
         "x.toml:5: limits.header_timeout: expected `float` >= 0.0, got -1.0"),
        (GOOD + 'balance = "fasted"\n',
         'x.toml:4: upstream[0].balance: "fasted" is none of least_inflight, round_robin, '
         'power_of_two, consistent_hash, fastest; did you mean "fastest"?'),
        (GOOD + "hash = { on = [] }\n", "x.toml:4: upstream[0].hash.on: expected"),
        (GOOD + 'hash = { on = ["header:x-a", "cookie:b"] }\n',
         'x.toml:4: upstream[0].hash.on[1]: "cookie:b" is none of user, prompt, header:NAME'),
        (GOOD + 'hash = { on = ["header:"] }\n', 'upstream[0].hash.on[0]: "header:" is none of'),
        (GOOD + "hash = { load_bound = 0.5 }\n", "upstream[0].hash.load_bound: expected"),
        (GOOD + "[server]\nworkers = 4\n", "x.toml:5: server.workers: more than one worker"),
        (GOOD + "[server]\nsse_keepalive = 0.05\n",
         "x.toml:5: server.sse_keepalive: is 0, or at least 0.1 s"),
        (GOOD + '[server]\nsse_keepalive = "often"\n', "server.sse_keepalive: invalid enum value"),
        (GOOD + "[server]\nsse_keepalive = -1\n", "server.sse_keepalive: expected `float` >= 0"),
        (GOOD + "[server]\ntcp_keepalive = -1\n", "server.tcp_keepalive: expected `int` >= 0"),
        (GOOD + "[server]\ndrain_settle = -1\n", "server.drain_settle: expected `float` >= 0"),
        (GOOD + '[server]\nlisten = "8080"\n',
         'x.toml:5: server.listen: "8080" is no address: HOST:PORT, [IPV6]:PORT, unix:/path, '
         'fd:N or systemd:NAME; did you mean "127.0.0.1:8080" or ":8080"?'),
        (SINKS.format('{ kind = "redis", url = "redis://h:80000" }'),
         "x.toml:6: metering.sinks[0].url: its port is no number from 0 to 65535"),
        (GOOD + '[auth]\nkeys_file = "x"\nshared = { url = "redis://h:x/0" }\n',
         "x.toml:6: auth.shared.url: its port is no number from 0 to 65535"),
        (GOOD + '[server]\nlisten = ["127.0.0.1:1", "::1:80"]\n',
         'x.toml:5: server.listen[1]: "::1:80" is no address'),
        (GOOD + "[server]\nlisten = [\n", "x.toml:"),
        (GOOD + 'x = "unclosed\n', "x.toml:4:14: the string is not closed"),
        (GOOD + "x = = 1\n", "x.toml:4:5: invalid value"),
        ("[server]\nworkers = 1\n", "x.toml: upstream: is missing"),
        ("upstream = []\n", "x.toml:1: upstream: at least one [[upstream]] is needed"),
        ('[[upstream]]\nendpoints = ["http://a:1"]\n', "x.toml:1: upstream[0].name: is missing"),
        ('[[upstream]]\nname = "a"\nendpoints = []\n',
         "x.toml:3: upstream[0].endpoints: at least one endpoint is needed"),
        (GOOD.replace("http:", "ftp:"), "is no endpoint: http://HOST:PORT, https://HOST:PORT or"),
        (EACH.format('"https://a", "https://A:443/"'), "https://A:443/ is there twice"),
        (GOOD.replace("http://127.0.0.1:8000", "127.0.0.1:8000"), "is no endpoint"),
        (GOOD.replace(":8000", ":8000/v1"), "an endpoint has no path"),
        (GOOD.replace('"]', '", "http://127.0.0.1:8000"]'), "is there twice"),
        (GOOD + GOOD, "x.toml:5: upstream[1].name: another upstream is called a"),
        (GOOD + GOOD.replace('"a"', '"b"'), "upstream[1].models: is missing: a already takes all"),
        (GOOD + 'models = ["m"]\n' + GOOD.replace('"a"', '"b"') + 'models = ["m"]\n',
         "x.toml:8: upstream[1].models[0]: m already goes to a"),
        (GOOD + 'models = ["' + "é" * 129 + '"]\n', "models[0]: is longer than 256 bytes"),
        (GOOD + 'models = [{ name = "a", serves = "' + "é" * 129 + '" }]\n',
         "models[0]: serves a name longer than 256 bytes"),
        (GOOD + "[auth]\n", "x.toml:4: auth: has no key: nobody could ask anything"),
        (GOOD + 'preset = "vlm"\n',
         'x.toml:4: upstream[0].preset: "vlm" is none of vllm, tgi, sglang, llamacpp, fastchat'),
        (GOOD + 'health = { path = "health" }\n',
         "x.toml:4: upstream[0].health.path: is no path: it begins with /"),
        (GOOD + 'warmup = { path = "v1/x" }\n',
         "x.toml:4: upstream[0].warmup.path: is no path: it begins with / and has no spaces"),
        (GOOD + "health = { wedge_after = 0.5 }\n",
         "x.toml:4: upstream[0].health.wedge_after: is 0, or at least 1 s"),
        (GOOD + "breaker = { error_rate = 0.5, window = 0 }\n",
         "x.toml:4: upstream[0].breaker.error_rate: needs a window to look at"),
        (GOOD + '[log]\naccess = "file"\n',
         'x.toml:5: log.access: expected "", "jsonl:stdout" or "jsonl:/path", got "file"'),
        (GOOD + '[log]\naccess = """\n[server]\n"""\n',
         'x.toml:5: log.access: expected "", "jsonl:stdout" or "jsonl:/path", got "[server]\\n"'),
        (GOOD.replace('"a"', '"a b"'), 'x.toml:2: upstream[0].name: expected letters, digits,'),
        ("limits = 3\n" + GOOD, "x.toml:1: limits: expected table, got `int`"),
        ("[upstream]\n", "x.toml:1: upstream: expected an array of tables: write [[upstream]]"),
        (GOOD + "[metering]\nsinks = {}\n", "metering.sinks"),
        (EACH.format('"http://a:1",\n7'),
         "x.toml:5: upstream[0].endpoints[1]: expected `str` or table, got `int`"),
        (EACH.format('"http://a:1",\n{ url = "http://b:1", weight = 0 }'),
         "x.toml:5: upstream[0].endpoints[1].weight: expected `int` >= 1"),
        (EACH.format('"http://a:1",\n{ url = "http://b:1", wieght = 1 }'),
         'x.toml:5: upstream[0].endpoints[1].wieght: unknown key; did you mean "weight"?'),
        (EACH.format('"http://a:1",\n"http://A:1/"'), "x.toml:5: upstream[0].endpoints[1]: http"),
        (EACH.format('"http://a",\n"http://a:80"'), "http://a:80 is there twice"),
        (EACH.format('"http://a b:1"'), "is no endpoint"),
        (EACH.format('"http://a:1\\nb"'), 'endpoints[0]: "http://a:1\\nb" is no endpoint'),
        (EACH.format('"http://a\\tb:1"'), "is no endpoint"),
        (EACH.format(f'"http://{"h" * 254}:1"'), "is no endpoint"),
        (EACH.format('"http://[::g]:1"'), "is no endpoint"),
        (EACH.format('"http://a:0"'), "is no endpoint"),
        (EACH.format('"http://a:70000"'), "is no endpoint"),
        (EACH.format('"http://u@a:1"'), "an endpoint has no user"),
        (EACH.format('"unix:run/x"'), "unix: needs an absolute path"),
        (EACH.format(f'"unix:/{"x" * 107}"'), "the path is longer than 107 bytes"),
        (GOOD + '[server]\nlisten = ["127.0.0.1:1", "127.0.0.1:1"]\n',
         "x.toml:5: server.listen[1]: 127.0.0.1:1 is there twice"),
        (GOOD + '[server]\nlisten = "127.0.0.1:65536"\n', "is no address"),
        (GOOD + '[server]\nlisten = "a b:1"\n', "is no address"),
        (GOOD + '[server]\nlisten = "[127.0.0.1]:1"\n', "is no address"),
        (GOOD + '[server]\nlisten = "unix:x.sock"\n', "unix: needs an absolute path"),
        (GOOD + "[server]\nlisten = []\n", "x.toml:5: server.listen: at least one address"),
        (GOOD + '[server.tls]\ncert = "a.pem"\n', "server.tls.key: is missing: cert needs"),
        (GOOD + '[server.tls]\nkey = "a.key"\n', "server.tls.cert: is missing: key needs its"),
        (GOOD + '[server.tls]\nclient_ca = "a.pem"\n', "server.tls.client_ca: needs TLS"),
        (GOOD + 'tls = { ca = "a.pem" }\n', "x.toml:4: upstream[0].tls: is for https:// endpoints"),
        (SECURE + 'tls = { verify = false, ca = "a.pem" }\n',
         "upstream[0].tls.verify: is false, so nobody is compared"),
        (SECURE + 'tls = { cert = "a.pem" }\n', "upstream[0].tls.key: is missing"),
        (SECURE + 'tls = { server_name = "a b" }\n', "is no name of a host"),
        (GOOD + '[admin]\nlisten = "fd:3"\n', "x.toml:5: admin.listen: fd:N is for server.listen"),
        (GOOD + '[admin]\nlisten = "127.0.0.1:8080"\n', "is also in server.listen"),
        (GOOD + '[server]\nhandover = "127.0.0.1:1"\n', '"127.0.0.1:1": it takes unix:/path'),
        (GOOD + '[server]\nhandover = "unix:h"\n', '"unix:h": unix: needs an absolute path'),
        (GOOD + '[server]\nlisten = "unix:/h"\nhandover = "unix:/h"\n',
         "server.handover: unix:/h is a listener too"),
        (GOOD + "[auth]\nkey = []\n", "auth: has no key: nobody could ask anything"),
        (GOOD + "[upstream.pool]\nprewarm = 9\nmax_idle = 8\n",
         "x.toml:5: upstream[0].pool.prewarm: is larger than pool.max_idle"),
        (GOOD + "[upstream.pool]\nprewarm = false\n", "upstream[0].pool.prewarm: expected `int`"),
        (GOOD + "[metering]\ninject_usage = 1\n", "metering.inject_usage: expected `bool`"),
        (GOOD + "metering = 3\n", "x.toml:4: upstream[0].metering: unknown key"),
        ("metering = 3\n" + GOOD, "x.toml:1: metering: expected table, got `int`"),
        (GOOD + "[metering]\nlegder = ''\n",
         'x.toml:5: metering.legder: unknown key; did you mean "ledger"?'),
        (SINKS.format('{ kind = "kafka" }'),
         'x.toml:6: metering.sinks[0].kind: "kafka" is none of redis, postgres, jsonl'),
        (SINKS.format('{ kind = [] }'), 'x.toml:6: metering.sinks[0].kind: "[]" is none of redis'),
        (SINKS.format('{ url = "redis://h" }'),
         "x.toml:6: metering.sinks[0]: kind is missing: one of redis, postgres, jsonl"),
        (SINKS.format('{ kind = "postgres", dsn = "x", tabel = "x" }'),
         'x.toml:6: metering.sinks[0].tabel: unknown key; did you mean "table"?'),
        (SINKS.format('{ kind = "postgres", dsn = "x", table = "x; --" }'),
         'metering.sinks[0].table: expected NAME or SCHEMA.NAME, got "x; --"'),
        (SINKS.format('{ kind = "jsonl" }'), "x.toml:6: metering.sinks[0].path: is missing"),
        (SINKS.format('{ kind = "redis" }'), "metering.sinks[0]: neither is given: exactly one"),
        (SINKS.format('{ kind = "postgres", dsn = "x", dsn_file = "y" }'),
         "metering.sinks[0]: both are given: exactly one of dsn and dsn_file is needed"),
        (SINKS.format('{ kind = "jsonl", path = "x" },\n{ kind = "jsonl", path = "y" }'),
         "x.toml:7: metering.sinks[1]: another sink is called jsonl; give it a name of its own"),
        (SINKS.format('{ kind = "jsonl", path = "x", name = "ledger" }'), "is called ledger"),
        (GOOD + '[metering]\nledger = ""\nsinks = [{ kind = "jsonl", path = "x" }]\n',
         "x.toml:6: metering.sinks: sinks are fed from the ledger, and metering.ledger is off"),
        (SINKS.format("3"), "x.toml:6: metering.sinks[0]: expected table, got `int`"),
        (GOOD + "[metering]\nretention_days = -1\n", "retention_days: expected `int` >= 0"),
        (GOOD + '[limits]\n"a\\nb" = 1\n', "x.toml:5: limits.a\\nb: unknown key"),
        (GOOD + "[limits]\nheader_line_bytes = 32768\nheader_bytes = 2048\n",
         "x.toml:5: limits.header_line_bytes: is larger than limits.header_bytes"),
    ],
)  # fmt: skip
def test_errors_name_their_place(text, says):
    assert complaint(text).startswith(says) or says in complaint(text)


@pytest.mark.parametrize(
    ("listen", "endpoint"),
    [
        ("127.0.0.1:8001", "http://127.0.0.1:8000"),
        ("127.0.0.1:8000", "http://10.0.0.1:8000"),
        ("0.0.0.0:8000", "http://engine:8000"),
        ("127.0.0.1:0", "http://127.0.0.1:8000"),
        ("unix:/run/a", "unix:/run/b"),
    ],
)
def test_an_endpoint_that_is_no_listener_is_none(listen, endpoint):
    parse_config(EACH.format(f'"{endpoint}"') + f'[server]\nlisten = "{listen}"\n')


def test_a_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "x.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_config(tmp_path / "x.toml") == parse_config(GOOD)


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


def test_what_asks_for_nothing_is_accepted():
    """A feature this version lacks may be switched off by name."""
    config = parse_config(
        GOOD + 'models = []\npreset = ""\npool = { max_idle = 7 }\n'
        "[metering]\ninject_usage = false\nledger = ''\nsinks = []\n"
    )
    assert config.upstream[0].pool.max_idle == 7


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:0", "[::1]:8080", "[fe80::1]:1", "localhost:1", "my_host.:1", ":8080", "unix:/x",
     "fd:3", "systemd:http"],
)  # fmt: skip
def test_addresses_that_can_be_listened_on_pass(address):
    config = parse_config(GOOD + f'[server]\nlisten = "{address}"\n')
    assert config.listens() == (address,)


@pytest.mark.parametrize(
    "url", ["http://h", "http://h/", "http://[::1]:8000", "http://my_host:1", "unix:/run/ä b.sock"]
)
def test_urls_of_endpoints_pass(url):
    assert parse_config(EACH.format(f'"{url}"')).upstream[0].all_endpoints()[0].url == url


def test_the_parts_of_a_complaint_are_there_for_programs():
    with pytest.raises(ConfigError) as found:
        parse_config(GOOD + "[limits]\nbodybytes = 1\n", "x.toml")
    error = found.value
    assert (error.file, error.line, error.column, error.key) == ("x.toml", 5, 0, "limits.bodybytes")
    assert error.message == 'unknown key; did you mean "body_bytes"?'


def test_a_file_that_is_not_utf_8_is_a_sentence(tmp_path):
    path = tmp_path / "x.toml"
    path.write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match=r"x\.toml: is not UTF-8 \(byte 5\)"):
        load_config(path)


def test_nesting_without_end_is_a_sentence():
    assert complaint("x = " + "[" * 5000) == "x.toml: is nested too deeply"


def test_a_bad_url_of_a_sink_is_not_quoted():
    said = complaint(SINKS.format('{ kind = "redis", url = "http://:hunter2@h" }'))
    assert said == (
        "x.toml:6: metering.sinks[0].url: expected a URL: redis://, rediss://, unix://"
    )  # fmt: skip


def test_sinks_are_read_by_their_kind(monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    config = parse_config(
        SINKS.format(
            '{ kind = "redis", url = "redis://:${SECRET}@h", maxlen = 0 },\n'
            '{ kind = "jsonl", path = "x" }, { kind = "jsonl", path = "y", name = "second" }'
        )
    )
    redis, one, two = config.metering.sinks
    assert (redis.url, redis.stream, redis.maxlen) == (
        "redis://:hunter2@h", "zeroproxy:usage", 0,
    )  # fmt: skip
    assert (one.path, two.name) == ("x", "second")


def test_a_key_that_is_too_long_for_a_head_is_named(tmp_path):
    """P1: 70,000 bytes passed the check, and a reload stopped half-way at them."""
    (tmp_path / "key").write_text("k" * 5000)
    config = parse_config(GOOD + f'api_key_file = "{tmp_path / "key"}"\n')
    with pytest.raises(ConfigError, match="api_key_file: holds more than 4096 bytes"):
        resolve(config)


def test_more_tenants_than_the_data_plane_can_tell_apart_are_refused():
    keys = tuple(Key(sha256=f"{k:064x}", tenant=f"t{k}") for k in range(65535))
    with pytest.raises(ConfigError, match="65535 tenants, and 65534 are the most"):
        all_keys(Auth(key=keys))
    assert all_keys(Auth(key=keys[1:])) == keys[1:]
