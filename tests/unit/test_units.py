"""Numbers written as text: quantities with units, digits, switches."""

import pytest

from zeroproxy.config.load import parse_config
from zeroproxy.config.schema import Config, Pool, Upstream
from zeroproxy.config.units import UNITS, quantity
from zeroproxy.errors import ConfigError

GOOD = '[[upstream]]\nname = "a"\nendpoints = ["http://127.0.0.1:8000"]\n'


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("5s", "seconds", 5), ("500ms", "seconds", 0.5), ("500 MS", "seconds", 0.5),
        ("250us", "seconds", 0.00025), ("1.5m", "seconds", 90), ("1h30m", "seconds", 5400),
        ("1h 30m", "seconds", 5400), ("2d", "seconds", 172800), ("0s", "seconds", 0),
        ("64KiB", "bytes", 65536), ("64k", "bytes", 65536), ("64 kB", "bytes", 65536),
        ("10MB", "bytes", 10485760), ("1g", "bytes", 1 << 30), ("1.5k", "bytes", 1536),
        ("100b", "bytes", 100), ("7d", "days", 7), ("4w", "days", 28),
        ("", "seconds", None), ("s", "seconds", None), ("5", "seconds", None),
        ("-5s", "seconds", None), ("5x", "seconds", None), ("5s6", "seconds", None),
        ("1e3s", "seconds", None), ("5s", "bytes", None), ("5m", "days", None),
        ("٥s", "seconds", None), ("1__0s", "seconds", None), ("9" * 13 + "s", "seconds", None),
    ],
)  # fmt: skip
def test_a_quantity_is_its_number_times_its_unit(text, unit, value):
    assert quantity(text, unit) == (None if value is None else pytest.approx(value))


def test_every_example_of_an_error_message_is_one():
    for unit in UNITS:
        with pytest.raises(ConfigError) as found:
            key = {"seconds": "server.drain_timeout", "bytes": "limits.body_bytes",
                   "days": "metering.retention_days"}[unit]  # fmt: skip
            table, name = key.split(".")
            parse_config(GOOD + f'[{table}]\n{name} = "x"\n')
        for example in found.value.message.split('"')[1:-2:2]:
            assert quantity(example, unit) is not None, example


@pytest.mark.parametrize(
    ("written", "key", "value"),
    [
        ('[server]\ndrain_timeout = "1m"', lambda c: c.server.drain_timeout, 60.0),
        ('[limits]\nbody_bytes = "10MB"', lambda c: c.limits.body_bytes, 10 << 20),
        ('[limits]\nheader_count = "64"', lambda c: c.limits.header_count, 64),
        ('[metering]\nretention_days = "2w"', lambda c: c.metering.retention_days, 14),
        ('[server]\nvia = "false"', lambda c: c.server.via, False),
        ('[otel]\nsample = "0.25"', lambda c: c.otel.sample, 0.25),
        ('[metering]\nsinks = [{ kind = "redis", url = "redis://h", maxlen = "7" }]',
         lambda c: c.metering.sinks[0].maxlen, 7),
        ('[log]\naccess = "jsonl:5s"', lambda c: c.log.access, "jsonl:5s"),
    ],
)  # fmt: skip
def test_a_text_is_read_by_the_type_of_its_key(written, key, value):
    found = key(parse_config(GOOD + written + "\n"))
    assert (found, type(found)) == (value, type(value))


def test_an_element_of_an_array_too():
    config = parse_config(GOOD.replace('"http://127.0.0.1:8000"',
                                       '{ url = "http://h:1", weight = "3" }'))  # fmt: skip
    assert config.upstream[0].all_endpoints()[0].weight == 3


def test_a_number_from_the_environment_is_one(monkeypatch):
    monkeypatch.setenv("PATIENCE", "90s")
    monkeypatch.setenv("MOST", "8")
    config = parse_config(
        GOOD + 'timeouts = { first_byte = "${PATIENCE}" }\nadmission = { max_inflight = "${MOST}" }'
    )
    assert config.upstream[0].timeouts.first_byte == 90.0
    assert config.upstream[0].admission.max_inflight == 8


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ('[limits]\nheader_count = "10s"', 'header_count: expected a whole number, got "10s"'),
        ('[limits]\nbody_bytes = "1.5"', 'body_bytes: expected a whole number of bytes, got "1.5"'),
        ('[server]\ndrain_timeout = "-1s"', "drain_timeout: expected seconds, as"),
        ('[server]\ndrain_timeout = "-1"', "drain_timeout: expected `float` >= 0.0, got -1.0"),
        ('[server]\ndrain_timeout = "9999d"', "drain_timeout: expected `float` <= "),
        ('[server]\nvia = "yes"', "server.via: expected `bool`"),
        ('[otel]\nsample = "half"', 'otel.sample: expected a number, got "half"'),
    ],
)
def test_a_text_that_is_no_number_is_named_with_its_line(written, says):
    with pytest.raises(ConfigError) as found:
        parse_config(GOOD + written + "\n", "x.toml")
    assert str(found.value).startswith("x.toml:5: ")
    assert says in str(found.value)


def test_a_configuration_made_in_a_program_has_the_same_units():
    from zeroproxy.config.load import complete

    upstream = Upstream(name="a", endpoints=("http://h:1",), pool=Pool(idle_timeout="1500ms"))
    assert complete(Config(upstream=(upstream,))).upstream[0].pool.idle_timeout == 1.5
