"""Tables of server.listen and networks, as the configuration has them."""

import pytest

from zeroproxy.config.load import parse_config
from zeroproxy.config.schema import Listen
from zeroproxy.errors import ConfigError
from zeroproxy.server.config_diff import plan

UPSTREAM = '[[upstream]]\nname = "u"\nendpoints = ["http://127.0.0.9:9"]\n'


def config(listen: str, more: str = ""):
    return parse_config(f"[server]\nlisten = {listen}\n{more}{UPSTREAM}")


def test_an_address_and_a_table_are_the_same_listener():
    one = config('"127.0.0.1:1"')
    other = config('[{ address = "127.0.0.1:1" }]')
    assert one.listeners() == other.listeners() == (Listen(address="127.0.0.1:1"),)
    assert one.listens() == other.listens() == ("127.0.0.1:1",)
    assert plan(one, other) == []


def test_a_table_has_networks():
    (found,) = config(
        '[{ address = ":1", allow_from = ["10.0.0.0/8", "unix"], proxy_protocol = true, '
        'proxy_from = ["::1"] }]'
    ).listeners()
    assert (found.allow_from, found.proxy_from) == (("10.0.0.0/8", "unix"), ("::1",))
    assert config('[{ address = "unix:/s", proxy_protocol = true }]').listeners()


@pytest.mark.parametrize(
    ("listen", "key", "problem"),
    [
        (
            '[{ address = ":1", allow_from = ["10.0.0.1/8"] }]',
            r"\[0\]\.allow_from\[0\]",
            "is no network.*host bits",
        ),
        (
            '[":2", { address = ":1", allow_from = ["::/0", "x"] }]',
            r"\[1\]\.allow_from\[1\]",
            "is no network",
        ),
        (
            '[{ address = ":1", proxy_protocol = true }]',
            r"\[0\]\.proxy_protocol",
            "needs proxy_from",
        ),
        (
            '[{ address = ":1", proxy_protocol = true, proxy_from = ["x"] }]',
            r"\[0\]\.proxy_from\[0\]",
            "is no network",
        ),
        ('[{ address = ":1", proxy_from = ["::1"] }]', r"\[0\]\.proxy_from", "is for"),
        ('[{ allow_from = ["::1"] }]', r"\[0\]\.address", "is missing"),
        ('[{ address = ":1", allow = ["::1"] }]', r"\[0\]\.allow", "did you mean"),
        ('[{ address = "x" }]', r"\[0\]", "is no address"),
    ],
)
def test_what_is_wrong_is_named(listen, key, problem):
    with pytest.raises(ConfigError, match=rf"server\.listen{key}: .*{problem}"):
        config(listen)


def test_networks_of_a_key_are_checked_and_may_change_while_it_runs():
    key = '[[auth.key]]\nsha256 = "' + "0" * 64 + '"\nallow_from = ["{}"]\n'
    with pytest.raises(ConfigError, match=r"auth\.key\[0\]\.allow_from\[0\]: .* is no network"):
        config('":1"', key.format("10.0.0.0/40"))
    old, new = (config('":1"', key.format(n)) for n in ("10.0.0.0/8", "unix"))
    assert plan(old, new) == ["auth.key"]
