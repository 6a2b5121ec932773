"""A configuration from arguments of the command line, alone or over a file.

Values take the way of a file: the same types, ranges and checks. A complaint about one of them
names the argument in the place of file, line and key.
Tests: tests/unit/test_arguments.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zeroproxy.config.base import KeyPath
from zeroproxy.config.load import Reader, finish, include, read_raw, read_text
from zeroproxy.config.overrides import Override, apply, put
from zeroproxy.config.presets import fill_in
from zeroproxy.config.schema import Config
from zeroproxy.errors import ConfigError

#: The name of an upstream that neither a file nor a preset names.
UNNAMED = "default"


@dataclass(frozen=True)
class Argument:
    """One argument: its name in complaints, the key it sets, and the value."""

    name: str
    path: KeyPath
    value: Any


class ArgumentReader(Reader):
    """A reader whose complaints about what came from an argument name that argument."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text, name)
        self._names: dict[KeyPath, str] = {}

    def take(self, raw: dict[str, Any], arguments: Sequence[Argument]) -> dict[str, Any]:
        """`raw` with the values of `arguments`."""
        for argument in arguments:
            self._names[argument.path] = argument.name
            if is_table(raw, argument.path):  # else the types refuse what is there
                raw = put(raw, argument.path, argument.value)
        return raw

    def error(self, message: str, path: KeyPath) -> ConfigError:
        for length in range(len(path), 0, -1):
            if path[:length] in self._names:
                return ConfigError(message, key=self._names[path[:length]])
        return super().error(message, path)


def at(raw: Any, path: KeyPath) -> Any:
    """The value there; None: nothing is."""
    for part in path:
        if isinstance(part, int) and isinstance(raw, list):
            raw = raw[part]
        else:
            raw = raw.get(part) if isinstance(raw, dict) else None
    return raw


def is_table(raw: Any, path: KeyPath) -> bool:
    """True if an argument can be put there: whatever is on the way is a table or an array."""
    return all(isinstance(at(raw, path[:k]) or {}, dict | list) for k in range(len(path)))


def place_of(upstreams: Any, reader: Reader) -> int:
    """The one upstream of a file that leaves `endpoints` out. Raises ConfigError."""
    bare = [k for k, one in enumerate(upstreams)
            if isinstance(one, dict) and "endpoints" not in one]  # fmt: skip
    if not bare:
        raise reader.error("each has endpoints: leave them out of the one that is started here",
                           ("upstream",))  # fmt: skip
    if len(bare) > 1:
        raise reader.error("is missing: only one upstream can be started here",
                           ("upstream", bare[1], "endpoints"))  # fmt: skip
    return bare[0]


@dataclass(frozen=True)
class Served:
    """The upstream of the command line."""

    #: The argument that gives the endpoints, as complaints name it.
    name: str
    endpoints: Sequence[str]
    #: --preset; "": it is not given.
    preset: str = ""
    #: The preset of the server that is started, where neither --preset nor a file has one.
    usual: str = ""

    def arguments(self, raw: dict[str, Any], reader: Reader) -> list[Argument]:
        """Those that make the upstream, or complete the one of a file."""
        preset = self.preset or self.usual
        given = raw.setdefault("upstream", [{"name": preset or UNNAMED}])
        if not isinstance(given, list):
            raise reader.error("expected an array of tables: write [[upstream]] (two brackets)",
                               ("upstream",))  # fmt: skip
        place = place_of(given, reader)
        here: KeyPath = ("upstream", place)
        made = [Argument(self.name, (*here, "endpoints"), list(self.endpoints))]
        if self.preset or (preset and "preset" not in given[place]):
            made.append(Argument("--preset", (*here, "preset"), preset))
        return made


def configure(
    served: Served,
    others: Sequence[Argument] = (),
    file: str = "",
    overrides: Sequence[Override] = (),
) -> Config:
    """The configuration with the upstream `served`, over that of `file` if one is given. `others`
    go over `overrides`, and those over the file. Raises ConfigError."""
    reader = ArgumentReader(read_text(file) if file else "", file)
    raw = include(reader, read_raw(reader))
    raw = reader.take(raw, served.arguments(raw, reader))
    raw = apply(raw, overrides, reader.origins, reader.error)
    raw = reader.take(raw, others)
    reader.check_keys(raw, Config, ())
    raw["upstream"] = [fill_in(one) if isinstance(one, dict) else one for one in raw["upstream"]]
    return finish(reader, {"admin": {}, "metering": {}, **raw})
