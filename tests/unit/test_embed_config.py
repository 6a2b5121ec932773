"""A Config made by keyword goes by the rules of a file."""

from pathlib import Path

import pytest

import zeroproxy
from zeroproxy.config.load import complete, parse_config
from zeroproxy.config.schema import (
    Admin,
    Auth,
    Breaker,
    Config,
    Health,
    Key,
    Limits,
    Log,
    Metering,
    Otel,
    Pool,
    Server,
    Shared,
    Timeouts,
    ToRedis,
    Upstream,
)  # fmt: skip

URL = "http://127.0.0.1:8000"


def one(**words: object) -> Config:
    return Config(upstream=[Upstream(name="u", endpoints=[URL], **words)])


def complaint(config: object) -> str:
    with pytest.raises(zeroproxy.ConfigError) as found:
        zeroproxy.Proxy(config)
    assert found.value.key
    return str(found.value)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (Config(upstream=one().upstream, server=Server(listen="8080")),
         'server.listen: "8080" is no address: HOST:PORT'),
        (Config(upstream=one().upstream, server=Server(listen=8080)),
         "server.listen: expected text, got 8080"),
        (Config(upstream=()), "upstream: at least one [[upstream]] is needed"),
        (Config(upstream=one().upstream * 2), "upstream[1].name: another upstream is called u"),
        (Config(upstream=[Upstream(name="u", endpoints=[])]),
         "upstream[0].endpoints: at least one endpoint is needed"),
        (Config(upstream=[Upstream(name="u", endpoints=[f"{URL}/v1"])]),
         f'upstream[0].endpoints[0]: "{URL}/v1": an endpoint has no path'),
        (one(balance="nope"),
         'upstream[0].balance: "nope" is none of least_inflight'),
        (one(preset="vlm"), 'upstream[0].preset: "vlm" is none of vllm'),
        (one(pool=Pool(idle_timeout="3 MB")),
         'upstream[0].pool.idle_timeout: expected seconds, as 5, "500ms" or "1h30m", got "3 MB"'),
        (one(pool=Pool(max_idle=-5)), "upstream[0].pool.max_idle: expected `int` >= 0, got -5"),
        (one(breaker=Breaker(error_rate=50)), "upstream[0].breaker.error_rate: expected a share"),
        (one(models=["\ud800"]), "upstream[0].models[0]: holds a NUL or half a surrogate pair"),
        (one(api_key="a\0b"), "upstream[0].api_key: holds a NUL or half a surrogate pair"),
        (one(timeouts=Timeouts(connect=1j)),
         "upstream[0].timeouts.connect: a complex is no value of a configuration"),
        (one(health="x"), "upstream[0].health: expected table, got `str`"),
        (Config(upstream=one().upstream[0]), "upstream: expected an array of tables"),
        (Config(upstream=[{"name": "u", "endpoint": [URL]}]),
         'upstream[0].endpoint: unknown key; did you mean "endpoints"?'),
        (Config(upstream=one().upstream, limits=Limits(header_count=1000)),
         "limits.header_count: expected `int` <= 256, got 1000"),
        (Config(upstream=one().upstream, log=Log(access="file")), "log.access: expected"),
        (Config(upstream=one().upstream, auth=Auth()), "auth: has no key"),
        (Config(upstream=one().upstream, auth=Auth(key=[Key(sha256="secret")])),
         "auth.key[0].sha256: expected the 64 hex digits of a SHA-256"),
        (Config(upstream=one().upstream,
                auth=Auth(keys_file="x", shared=Shared(url="redis://h:99999"))),
         "auth.shared.url: its port is no number"),
        (Config(upstream=one().upstream, metering=Metering(ledger="x", sinks=[ToRedis()])),
         "metering.sinks[0]: neither is given"),
        (Config(upstream=one().upstream, otel=Otel(headers={"a b": "c"})),
         "otel.headers.a b: is no name of a header field"),
        (Config(upstream=one().upstream, server=Server(listen=URL[7:])),
         "upstream[0].endpoints[0]: http://127.0.0.1:8000 is this proxy's own listener"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_a_config_error_that_names_the_key(config, says):
    assert complaint(config).startswith(says)


def test_a_secret_of_the_wrong_form_is_not_shown():
    assert "secret" not in complaint(
        Config(upstream=one().upstream, auth=Auth(key=[Key(sha256="secret")]))
    )


@pytest.mark.parametrize("what", ["conf.toml", None, {"upstream": []}])
def test_what_is_no_config_is_a_type_error(what):
    with pytest.raises(TypeError, match=r"Proxy takes a Config, not a \w+; load_config"):
        zeroproxy.Proxy(what)


def test_presets_fill_in_what_has_its_default():
    found = complete(one(preset="llamacpp")).upstream[0]
    assert (found.pool.max_idle, found.health.path) == (2, "/health")
    assert complete(one(preset="openai")).upstream[0].health.path == "/v1/models"
    written = one(preset="openai", health=Health(path="/ping"), pool=Pool(max_idle=9))
    found = complete(written).upstream[0]
    assert (found.pool.max_idle, found.health.path) == (9, "/ping")


def test_what_a_file_says_stays_where_it_is_the_default():
    text = f'[[upstream]]\nname = "u"\nendpoints = ["{URL}"]\npreset = "llamacpp"\n'
    config = parse_config(text + "pool = { max_idle = 256, prewarm = 8 }\n")
    assert config.upstream[0].pool.max_idle == 256
    assert complete(config) == config
    assert complete(complete(config)) == config


def test_lists_paths_and_whole_numbers_are_taken_as_they_are_meant(tmp_path):
    config = complete(
        Config(
            upstream=[Upstream(name="u", endpoints=[URL], models=["a"])],
            server=Server(listen=["127.0.0.1:0"], drain_timeout=3),
            metering=Metering(ledger=tmp_path / "u.sqlite"),
        )
    )
    assert config.server.listen == ("127.0.0.1:0",)
    assert isinstance(config.server.drain_timeout, float)
    assert config.upstream[0].models == ("a",)
    assert config.metering.ledger == str(Path(tmp_path / "u.sqlite"))


def test_by_keyword_no_port_is_opened_and_no_file_written_that_was_not_asked_for():
    config = complete(one())
    assert (config.admin.listen, config.metering.ledger) == ("", "")
    assert complete(Config(upstream=one().upstream, admin=Admin())).admin == Admin()
    text = f'[[upstream]]\nname = "u"\nendpoints = ["{URL}"]\n'
    assert parse_config(text).admin.listen == "127.0.0.1:9090"
    assert parse_config(text).metering.ledger == "usage.sqlite"


def test_a_reload_goes_by_the_same_rules():
    from zeroproxy.server.reload import check

    assert check(one(preset="llamacpp")).upstream[0].pool.max_idle == 2
    with pytest.raises(zeroproxy.ReloadError, match=r"^upstream\[0\]\.balance: \"nope\" is none"):
        check(one(balance="nope"))
