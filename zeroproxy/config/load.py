"""Reading a configuration: TOML, ${ENV}, types, and checks of several keys together.

Law. Every error is one line: file, line, key, what is wrong, and the nearest spelling.
Tests: tests/unit/test_config.py.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import operator
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_type_hints

import msgspec

from zeroproxy.config.base import KeyPath, Wrong, structs_in
from zeroproxy.config.include import merge, paths_of
from zeroproxy.config.overrides import Override, apply
from zeroproxy.config.positions import Lines
from zeroproxy.config.presets import PRESETS, fill_in
from zeroproxy.config.schema import Admin, Config, Health, Pool, Upstream
from zeroproxy.config.units import read_numbers
from zeroproxy.config.validate import check_together
from zeroproxy.errors import ConfigError

BALANCES: tuple[str, ...] = get_args(get_type_hints(Upstream)["balance"])
Kind = TypeVar("Kind", bound=msgspec.Struct)
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
#: The patterns of config/schema.py in prose, by key.
PATTERNS: dict[str | int, str] = {
    "name": 'letters, digits, ".", "_" and "-"',
    "tenant": 'letters, digits, ".", "_" and "-"',
    "sha256": "the 64 hex digits of a SHA-256",
    "access": '"", "jsonl:stdout" or "jsonl:/path"',
    "audit": '"", "jsonl:stdout" or "jsonl:/path"',
    "table": "NAME or SCHEMA.NAME",
}
MSGSPEC_PATH = re.compile(r" - at `\$(.*)`$")


class Reader:
    """One text being read; every complaint knows where it stands."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text.removeprefix("\ufeff"), name  # editors' byte order mark
        #: Values that are not from the text: the option or variable of each, by its path.
        self.origins: dict[KeyPath, str] = {}
        #: Values of included files: the file of each, and its path there.
        self.moved: dict[KeyPath, tuple[Reader, KeyPath]] = {}

    def error(self, message: str, path: KeyPath) -> ConfigError:
        for depth in range(len(path), 0, -1):
            if origin := self.origins.get(path[:depth]):
                return ConfigError(message, file=origin, key=show(path))
            if place := self.moved.get(path[:depth]):
                return place[0].error(message, (*place[1], *path[depth:]))
        line = Lines(self.text).find(path)
        return ConfigError(message, file=self.name, line=line, key=show(path))

    def parse(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.text)
        except RecursionError:
            raise ConfigError("is nested too deeply", file=self.name) from None
        except tomllib.TOMLDecodeError as error:
            message = str(error)
            found = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
            if found and found[1]:
                line, column = int(found[1]), int(found[2])
            else:
                line = self.text.count("\n") + 1
                column = len(self.text) - (self.text.rfind("\n") + 1) + 1
            message = explain_syntax(message[: found.start()] if found else message,
                                     self.text.split("\n")[line - 1])  # fmt: skip
            raise ConfigError(message, file=self.name, line=line, column=column) from None

    def expand(self, value: Any, path: KeyPath) -> Any:
        """Replace ${NAME} in every string; a missing variable is an error."""
        if isinstance(value, dict):
            return {k: self.expand(v, (*path, k)) for k, v in value.items()}
        if isinstance(value, list):
            return [self.expand(v, (*path, k)) for k, v in enumerate(value)]
        if not isinstance(value, str):
            return value

        def replace(found: re.Match[str]) -> str:
            if found[1] not in os.environ:
                raise self.error(f"the environment has no {found[1]}", path)
            return os.environ[found[1]]

        if "\0" in value:
            raise self.error("holds a NUL", path)
        return VARIABLE.sub(replace, value)

    def check_keys(self, value: Any, kind: Any, path: KeyPath) -> Any:
        """Unknown keys, found before types are looked at, so that a typo is called a typo."""
        structs = structs_in(kind)
        if isinstance(value, list) and structs:
            one = structs[0] if len(structs) == 1 else functools.reduce(operator.or_, structs)
            return [self.check_keys(item, one, (*path, k)) for k, item in enumerate(value)]
        if isinstance(value, dict) and len(structs) > 1:
            return self.check_tagged(value, structs, path)
        if isinstance(value, dict) and structs:
            return self.check_table(value, get_type_hints(structs[0]), path)
        return value

    def check_tagged(
        self, table: dict[str, Any], structs: list[Any], path: KeyPath
    ) -> dict[str, Any]:
        """A table whose `kind` decides the struct."""
        kinds = {str(s.__struct_config__.tag): s for s in structs}
        if "kind" not in table:
            raise self.error(f"kind is missing: one of {', '.join(kinds)}", path)
        kind = table["kind"]
        if not isinstance(kind, str) or kind not in kinds:
            raise self.error(f'"{kind}" is none of {", ".join(kinds)}', (*path, "kind"))
        return self.check_table(table, {"kind": str, **get_type_hints(kinds[kind])}, path)

    def check_table(
        self, table: dict[str, Any], hints: dict[str, Any], path: KeyPath
    ) -> dict[str, Any]:
        """One table against the keys it may have."""
        for key in table:
            if key not in hints:
                raise self.error(f"unknown key{nearest(key, list(hints))}", (*path, key))
        return {key: self.check_keys(table[key], hints[key], (*path, key)) for key in table}

    def convert(self, raw: dict[str, Any], kind: type[Kind]) -> Kind:
        try:
            return msgspec.convert(raw, kind)
        except msgspec.ValidationError as error:
            message = str(error)
            path: KeyPath = ()
            if found := MSGSPEC_PATH.search(message):
                path, message = read_path(found[1]), message[: found.start()]
            if missing := re.match(r"Object missing required field `(\w+)`", message):
                raise self.error("is missing", (*path, missing[1])) from None
            raise self.error(explain(message, path, raw), path) from None


def explain_syntax(message: str, line: str) -> str:
    """tomllib's message in plain English; `line` is the text it is about."""
    key = re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line)
    table = re.match(r"\s*(\[+[^\]]*\]+)", line)
    if message == "Cannot overwrite a value" and key:
        return f"{key[1]} is there twice"
    if re.fullmatch(r"Cannot (declare .* twice|overwrite a value|mutate immutable namespace .*)",
                    message) and table:  # fmt: skip
        return f"{table[1]} is there twice"
    if message in (r"Illegal character '\n'", "Unterminated string", 'Expected "\'"'):
        return "the string is not closed"
    return lower_first(message)


def explain(message: str, path: KeyPath, raw: dict[str, Any]) -> str:
    """msgspec's message with the terms of TOML; a pattern is replaced by its meaning."""
    if path and path[-1] == "balance" and "enum" in message:
        value = str(dig(raw, path))
        close = difflib.get_close_matches(value, BALANCES, n=1)
        hint = f'; did you mean "{close[0]}"?' if close else ""
        return f'"{value}" is none of {", ".join(BALANCES)}{hint}'
    if path and path[-1] == "preset" and "enum" in message:
        return f'"{dig(raw, path)}" is none of {", ".join(filter(None, PRESETS))}'
    if " matching regex " in message and path[-1] == "sha256":
        return f"expected {PATTERNS['sha256']}"  # what is there may be the key itself
    if " matching regex " in message:
        return f'expected {PATTERNS[path[-1]]}, got "{dig(raw, path)}"'
    # msgspec does not name a key of a free table (otel.headers): its value is unknown.
    with contextlib.suppress(LookupError, TypeError):
        if path and (better := explain_value(message, dig(raw, path), path)):
            return better
    return lower_first(message).replace("`str | object`", "`str` or table").replace(
        "`object`", "table").replace("`array`", "array")  # fmt: skip


def explain_value(message: str, value: Any, path: KeyPath) -> str:
    """Advice on some values of the wrong type or range; empty: there is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, dict) and message == "Expected `array`, got `object`":
        inside = ".".join(str(part) for part in path)
        return f"expected an array of tables: write [[{inside}]] (two brackets)"
    if path == ("server", "listen") and is_number:
        return f'expected text, got {value}; did you mean "127.0.0.1:{value}" or ":{value}"?'
    if found := re.fullmatch(r"Expected `(?:float|int)` (<=|>=|<|>) [0-9.e+]+", message):
        if found[0].endswith(("`float` <= 1.0", "`float` <= 1")):
            hint = f" ({value:g} % is {value / 100:g})" if 2 <= value <= 100 else ""
            return f"expected a share up to 1, got {value}{hint}"
        return f"{lower_first(message)}, got {value}"
    return ""


def lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def show(path: KeyPath) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read_path(text: str) -> KeyPath:
    """msgspec's path, `.upstream[0].pool`, as a tuple."""
    found = re.findall(r"\.([^.\[]+)|\[(\d+)\]|\[\.\.\.\]", text)
    return tuple(name or int(number or 0) for name, number in found)


def dig(value: Any, path: KeyPath) -> Any:
    for part in path:
        value = value[part]
    return value


def nearest(key: str, known: list[str]) -> str:
    found = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f'; did you mean "{found[0]}"?' if found else f"; known here: {', '.join(known)}"


# ---------------------------------------------------------------- made in a program


def raw_of(value: Any, path: KeyPath, wrong: Wrong) -> Any:
    """`value` as TOML would hold it: tables, lists, text and numbers. Raises what `wrong` makes."""
    if isinstance(value, msgspec.Struct):
        tag = value.__struct_config__.tag
        table = {name: getattr(value, name) for name in value.__struct_fields__}
        return raw_of(table if tag is None else {"kind": tag, **table}, path, wrong)
    if isinstance(value, Mapping):
        return {key: raw_of(one, (*path, str(key)), wrong) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [raw_of(one, (*path, k), wrong) for k, one in enumerate(value)]
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
            raise wrong("holds a NUL or half a surrogate pair", path)
        return value
    if value is None or isinstance(value, bool | int | float | datetime):
        return value
    raise wrong(f"a {type(value).__name__} is no value of a configuration", path)


def with_preset(upstream: dict[str, Any]) -> dict[str, Any]:
    """fill_in for an upstream with every key: what has its default counts as not written."""
    bare = dict(upstream)
    if bare.get("host") == "caller":
        del bare["host"]
    for table, kind in (("health", Health), ("pool", Pool)):
        if isinstance(given := upstream.get(table), dict):
            usual = {f.name: f.default for f in msgspec.structs.fields(kind)}
            bare[table] = {k: v for k, v in given.items() if k not in usual or v != usual[k]}
    return fill_in(bare)


def complete(config: Config) -> Config:
    """`config`, however it was made, by the rules of a file: types, ranges, keys together,
    presets. Lists may stand for tuples, and paths for text. Raises ConfigError with the key."""
    reader = Reader("", "")
    raw = raw_of(config, (), reader.error)
    if isinstance(raw["upstream"], list):
        raw["upstream"] = [
            with_preset(table) if isinstance(table, dict) and not is_filled(one) else table
            for one, table in zip(config.upstream, raw["upstream"], strict=True)
        ]
    return finish(reader, reader.check_keys(raw, Config, ()))


def is_filled(upstream: object) -> bool:
    """True if its preset has been filled in, so that a default there is a value that was set."""
    return isinstance(upstream, Upstream) and bool(vars(upstream).get("is_filled"))


def finish(reader: Reader, raw: dict[str, Any]) -> Config:
    config = reader.convert(read_numbers(raw, Config, (), reader.error), Config)
    check_together(config, reader.error)
    for upstream in config.upstream:
        vars(upstream)["is_filled"] = True
    return config


# ---------------------------------------------------------------- entry points


def read_raw(reader: Reader) -> dict[str, Any]:
    """The tables of one text, its keys known and its variables replaced."""
    raw = reader.check_keys(reader.parse(), Config, ())
    return cast("dict[str, Any]", reader.expand(raw, ()))


def include(reader: Reader, raw: dict[str, Any]) -> dict[str, Any]:
    """`raw` with the files of its `include`, whose names are relative to the reader's file."""
    if not isinstance(patterns := raw.get("include", []), list):
        return raw
    for k, path in paths_of(patterns, Path(reader.name).parent):
        try:
            added = Reader(read_text(path), path)
        except ConfigError as error:
            raise reader.error(str(error), ("include", k)) from None
        more = read_raw(added)
        if "include" in more:
            raise added.error("an included file includes none", ("include",))

        def note(merged: KeyPath, own: KeyPath, added: Reader = added) -> None:
            reader.moved[merged] = (added, own)

        def owner(at: KeyPath) -> str:
            return reader.error("", at).file

        raw = merge(raw, more, note, owner, added.error)
    return raw


def parse_config(text: str, name: str = "<text>", overrides: Sequence[Override] = ()) -> Config:
    """Config from TOML text. Raises ConfigError; `name` is what it calls the file."""
    reader = Reader(text, name)
    with_files = include(reader, read_raw(reader))
    expanded = apply(with_files, overrides, reader.origins, reader.error)
    if overrides:
        reader.check_keys(expanded, Config, ())
    if isinstance(expanded.get("upstream"), list):
        expanded["upstream"] = [
            fill_in(one) if isinstance(one, dict) else one for one in expanded["upstream"]
        ]
    # A file has the defaults of a program of its own; those of Config are for embedding.
    return finish(reader, {"admin": {}, "metering": {}, **expanded})


def read_text(path: str | Path, key: str = "") -> str:
    """The text of a file; `key`: the key that names it. Raises ConfigError."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 (byte {error.start})"
    raise ConfigError(message, file=str(path), key=key)


def load_config(path: str | Path, overrides: Sequence[Override] = ()) -> Config:
    """Config from a file. `overrides`: values that go over it (config/overrides.py). Raises
    ConfigError, also when the file cannot be read."""
    return parse_config(read_text(path), str(path), overrides)


def load_admin(path: str | Path, overrides: Sequence[Override] = ()) -> Admin:
    """[admin] of a file, whose other keys are only known by name: a command that asks the admin
    port needs no more. Raises ConfigError."""
    reader = Reader(read_text(path), str(path))
    raw = apply(include(reader, read_raw(reader)), overrides, reader.origins, reader.error)
    table = {"upstream": [], "admin": raw.get("admin", {})}
    return reader.convert(read_numbers(table, Config, (), reader.error), Config).admin
