"""Configuration of access: origins of pages, and the admin port on a network."""

import pytest

from tests.unit.test_config import GOOD, complaint
from zeroproxy.config.load import parse_config

CORS = "[server.cors]\n{}\n" + GOOD


@pytest.mark.parametrize(
    "origin",
    ["https://app.example", "http://localhost:3000", "http://127.0.0.1:8000", "http://[::1]:3000",
     "chrome-extension://abcdefghijklmnop", "tauri://localhost", "https://a-b.example:8443",
     "http://[::1]"],
)  # fmt: skip
def test_an_origin_is_that_of_a_page(origin):
    config = parse_config(CORS.format(f'origins = ["{origin}"]'))
    assert config.server.cors.origins == (origin,)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('origins = ["https://app.example/"]',
         'origins[0]: "https://app.example/" is no origin; did you mean "https://app.example"?'),
        ('origins = ["https://App.Example"]', 'did you mean "https://app.example"?'),
        ('origins = ["app.example"]', 'origins[0]: "app.example" is no origin: https://HOST or'),
        ('origins = ["https://app.example/x"]', '"https://app.example/x" is no origin: https://'),
        ('origins = ["https://*.example"]', '"https://*.example" is no origin: https://HOST'),
        ('origins = ["https://a.example:443"]',
         'origins[0]: browsers leave the usual port out: "https://a.example"'),
        ('origins = ["http://[::1]:80"]', 'leave the usual port out: "http://[::1]"'),
        ('origins = ["http://a:70000"]', '"http://a:70000": its port is no number from 0 to'),
        ('origins = ["null"]', '"null" is the origin of every page that hides its own'),
        ('origins = ["*", "https://a"]', "origins[0]: \"*\" stands alone: it is any"),
        ('origins = ["https://a", "https://a"]', "origins[1]: https://a is there twice"),
        ('origins = "*"', "server.cors.origins: expected array, got `str`"),
        ('origins = ["https://a\\r\\nX: y"]', "is no origin"),
        ('headers = ["a b"]', 'headers[0]: "a b" is no name of a header field'),
        ("max_age = 100000", "server.cors.max_age: expected `int` <= 86400, got 100000"),
        ("credentials = true", "server.cors.credentials: unknown key; known here: origins"),
    ],
)  # fmt: skip
def test_what_is_no_origin_is_explained(line, says):
    assert says in complaint(CORS.format(line))


ADMIN = '[admin]\nlisten = "{}"\n' + GOOD


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", ":1", "10.0.0.1:1", "gpu-1:1"])
def test_an_admin_port_on_a_network_needs_a_token(listen):
    assert complaint(ADMIN.format(listen)) == (
        f"x.toml:2: admin.listen: {listen} is not on loopback: set admin.token or "
        "admin.token_file; admin.insecure = true lets whoever reaches it drain and reload"
    )
    for line in ('token = "t"', 'token_file = "/run/t"', "insecure = true"):
        text = ADMIN.format(listen).replace("[admin]\n", f"[admin]\n{line}\n")
        assert parse_config(text).admin.listen == listen


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:1", "127.8.9.1:1", "[::1]:1", "localhost:1", "unix:/run/a", ""]
)
def test_an_admin_port_on_loopback_needs_none(listen):
    assert parse_config(ADMIN.format(listen)).admin.listen == listen
