"""[otel] as an operator writes it."""

import pytest

from zeroproxy.config.load import parse_config
from zeroproxy.errors import ConfigError

UPSTREAM = '[[upstream]]\nname = "a"\nendpoints = ["http://127.0.0.1:8000"]\n'


def otel(text):
    return parse_config(f"{UPSTREAM}[otel]\n{text}\n", "f").otel


def test_a_collectors_key_comes_from_the_environment_and_is_never_shown(monkeypatch):
    monkeypatch.setenv("COLLECTOR_KEY", "k-1234")
    found = otel('headers = { authorization = "Bearer ${COLLECTOR_KEY}" }')
    assert found.headers == {"authorization": "Bearer k-1234"}
    assert "k-1234" not in repr(found)
    assert "authorization" in repr(found)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:4318/v1/traces", "https://collector.example/otlp", "http://c/v1/t"]
)
def test_urls_of_collectors_pass(url):
    assert otel(f'endpoint = "{url}"').endpoint == url


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('endpoint = "127.0.0.1:4318"', "is no URL of a collector"),
        ('endpoint = "grpc://c:4317/x"', "is no URL of a collector"),
        ('endpoint = "http://c:99999/v1/traces"', "is no URL of a collector"),
        ('endpoint = "http://c:4318"', "needs the whole URL"),
        ('endpoint = "http://c:4318/"', "needs the whole URL"),
        ('endpoint = "http://me:k-1234@c/v1/traces"', "keys belong in otel.headers"),
        ('endpoint = "http://c/v1/traces?key=k-1234"', "keys belong in otel.headers"),
        ('headers = { "a b" = "k-1234" }', "is no name of a header field"),
        ('headers = { a = "k-1234\\n" }', "is no value of a header field"),
        ('headers = { a = "" }', "is no value of a header field"),
        ("headers = { a = 1 }", "expected `str`"),
        ("timeout = 0", "expected `float` > 0"),
        ("sample = 1.5", "expected a share up to 1, got 1.5"),
        ('service_name = ""', "length >= 1"),
        ('end_point = ""', 'did you mean "endpoint"'),
    ],
)
def test_errors_do_not_show_the_key(text, says):
    with pytest.raises(ConfigError) as caught:
        otel(text)
    assert says in str(caught.value)
    assert str(caught.value).startswith("f:5: otel.")
    assert "k-1234" not in str(caught.value)
