"""Values from outside the file: `--set KEY=VALUE`, and variables as ZEROPROXY_SERVER__LISTEN.

Law 1. They go over the file, --set over variables; the last of several counts. A reload applies
       them again.
Law 2. A value is read by the type of its key: text as it is, numbers with units, arrays and tables
       as TOML. ${NAME} is not replaced.
Law 3. A variable without two underscores behind a section is none of ours: Kubernetes sets
       ZEROPROXY_SERVICE_HOST and the like for a service of that name.
Tests: tests/unit/test_overrides.py.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from zeroproxy.config.base import KeyPath, Wrong, hints_of, structs_in
from zeroproxy.config.schema import Config
from zeroproxy.errors import ConfigError

PREFIX = "ZEROPROXY_"
STEP = re.compile(r"\.?([A-Za-z0-9_-]+)|\[([0-9]{1,6})\]|\.\"([^\"]+)\"")


@dataclass(frozen=True)
class Override:
    """One value. `names`: the key's parts as they were written; `origin`: for messages."""

    names: tuple[str, ...]
    value: str
    origin: str


def from_option(text: str) -> Override:
    """`KEY=VALUE`. An element of an array goes by number or name: upstream[0].preset or
    upstream.vllm.preset. Raises ConfigError."""
    key, equals, value = text.partition("=")
    key = key.strip()
    names, at = [], 0
    while found := STEP.match(key, at):
        names.append(found[1] or found[2] or found[3])
        at = found.end()
    if not equals or not names or at != len(key) or key.startswith("."):
        raise ConfigError(f'expected KEY=VALUE, as server.listen=:8080, got "{text}"', file="--set")
    return Override(tuple(names), value, "--set")


def from_environment(environ: Mapping[str, str]) -> list[Override]:
    """One for each ZEROPROXY_SECTION__KEY, in order of the names."""
    found = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and "__" in name[len(PREFIX) :].strip("_"):
            parts = name[len(PREFIX) :].lower().split("__")
            found.append(Override(tuple(parts), environ[name], name))
    return found


def apply(
    raw: dict[str, Any], overrides: Iterable[Override], origins: dict[KeyPath, str], wrong: Wrong
) -> dict[str, Any]:
    """`raw`, a configuration as TOML gives it, with `overrides` in it. `origins` gains the path of
    each. Raises what `wrong` makes."""
    for override in overrides:
        path = place(raw, override, origins, wrong)
        origins[path] = override.origin
        raw = put(raw, path, read_value(override.value, kind_at(path), path, wrong))
    return raw


def place(raw: Any, override: Override, origins: dict[KeyPath, str], wrong: Wrong) -> KeyPath:
    """The path that the override's names lead to; elements of arrays become numbers."""
    path: KeyPath = ()
    value = raw
    for name in override.names:
        if path and not holds_keys(kind_at(path)):
            origins[path] = override.origin
            raise wrong(f'has no key "{name}": it is no table', path)
        if isinstance(value, list):
            k = index_of(value, name)
            if k is None:
                origins[path] = override.origin
                named = ", ".join(str(v.get("name")) for v in value if isinstance(v, dict))
                raise wrong(f'has no element "{name}": it has {len(value)} ({named})', path)
            path, value = (*path, k), value[k]
            continue
        path = (*path, name)
        value = value.get(name, {}) if isinstance(value, dict) else {}
    return path


def index_of(elements: list[Any], name: str) -> int | None:
    """The place of an element by its number or its name, in any case of letters."""
    if name.isascii() and name.isdigit():
        return int(name) if int(name) < len(elements) else None
    names = [str(e.get("name", "")).lower() if isinstance(e, dict) else "" for e in elements]
    return names.index(name.lower()) if name.lower() in names else None


def kind_at(path: KeyPath) -> Any:
    """The annotation of the key at `path`; object: there is no such key."""
    kind: Any = Config
    for part in path:
        structs = structs_in(kind)
        if isinstance(part, str):
            hints: dict[str, Any] = {}
            for struct in structs:
                hints |= hints_of(struct)
            kind = hints.get(part, object)
    return kind


def holds_keys(kind: Any) -> bool:
    """True for a table, an array of tables, and what is unknown."""
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return kind is object or get_origin(bare) is dict or bool(structs_in(kind))


def read_value(text: str, kind: Any, path: KeyPath, wrong: Wrong) -> Any:
    """The value of a text, by law 2."""
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if bare in (str, int, float, bool) or get_origin(bare) is Literal:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        if text.lstrip()[:1] in ("[", "{"):
            raise wrong(f"expected an array or a table as TOML, got {text[:64]}", path) from None
        return text


def put(raw: Any, path: KeyPath, value: Any) -> Any:
    """A copy of `raw` with `value` at `path`; tables on the way are made."""
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(head, int):
        return [put(one, rest, value) if k == head else one for k, one in enumerate(raw)]
    table = raw if isinstance(raw, dict) else {}
    return {**table, head: put(table.get(head, {}), rest, value)}
