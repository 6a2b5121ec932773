"""The line of a key, found without a parser's help."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zeroproxy.config.positions import Lines

#: Every integer in here is the number of the line it stands on.
NUMBERED = '''\
top = 1
"quoted key" = 2
"esc\\u0061ped" = 3
dotted.inner . deep = 4
'single' = 5   # comment = 99
list = [ 6, 6,
  7, # [98]
  8 ]
table = { a = 9, b = { c = 9 }, "d" = [ 9, { e = 9 } ] }
text = """
[not.a.table]
line = 97
# " \\""" ]"""
literal = \'\'\'
[[nor.this]] \'\'\'
after = 16
[plain] # [96]
x = 18
[ spaced . "header" ]
x = 20
[[many]]
x = 22
[many.sub]
x = 24
[[many.inner]]
x = 26
[[many.inner]]
x = 28
[[many]]
x = 30
[many.sub]
x = 32
[[many.inner]]
x = 34
times = 1979-05-27 07:32:00
more = [ 1979-05-27 07:32:00 , 1.5e3 ]
bare-key_1 = 37
quotes = """a"""""
ends = 39
[long]
rows = [
  { x = 42 },

  # between
  [ 45,
    [ 46 ]] ,
]'''


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, int]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in pairs:
        if isinstance(item, dict | list):
            yield from leaves(item, (*path, key))
        elif type(item) is int:
            yield (*path, key), item


@pytest.mark.parametrize(("path", "line"), list(leaves(tomllib.loads(NUMBERED))), ids=str)
def test_every_value_is_found_on_its_line(path, line):
    assert Lines(NUMBERED).find(path) == line


def test_line_ends_of_windows_change_nothing():
    text = NUMBERED.replace("\n", "\r\n")
    lines = Lines(text)
    assert all(lines.find(path) == line for path, line in leaves(tomllib.loads(text)))


def test_tables_are_found_on_the_line_of_their_header():
    lines = Lines(NUMBERED)
    assert lines.find(("plain",)) == 17
    assert lines.find(("many",)) == 21
    assert lines.find(("many", 1)) == 29
    assert lines.find(("many", 1, "inner", 0)) == 33
    assert lines.find(("spaced", "header")) == 19


def test_what_is_not_there_is_looked_for_in_what_holds_it():
    lines = Lines(NUMBERED)
    assert lines.find(("many", 1, "missing", "deeper")) == 29
    assert lines.find(("long", "rows", 9)) == 41
    assert lines.find(("nowhere",)) == 0
    assert lines.find(()) == 0


def test_only_line_feeds_end_a_line():
    assert Lines("a = '\u2028'\nb = 1").find(("b",)) == 2


@pytest.mark.parametrize("path", sorted(Path("conf").glob("*.toml")), ids=str)
def test_every_key_of_the_samples_stands_where_it_says(path):
    text = path.read_text()
    rows = text.splitlines()
    lines = Lines(text)

    def check(value: Any, at: tuple[str | int, ...]) -> None:
        if at and isinstance(at[-1], str):
            assert at[-1] in rows[lines.find(at) - 1]
        if isinstance(value, dict | list):
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in pairs:
                check(item, (*at, key))

    check(tomllib.loads(text), ())


SNIPPETS = st.sampled_from(
    ["[", "]", "{", "}", ",", "=", ".", "\n", " ", "#", '"', "'", '"""', "'''", "\\", "a", "1", "é"]
)


@settings(deadline=None)
@given(st.lists(SNIPPETS, max_size=40).map("".join))
def test_no_text_makes_it_raise_or_hang(text):
    assert Lines(text).find(("a",)) >= 0
