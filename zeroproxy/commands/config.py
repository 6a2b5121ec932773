"""`zeroproxy config`: the reference, the examples, and the values that are in effect.

Law. No secret is printed: a key whose Meta has `secret` shows MASK in place of its value.
Tests: tests/unit/test_config_command.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import tomli_w

from zeroproxy.commands.source import source_of
from zeroproxy.config.base import hints_of, is_secret, mask
from zeroproxy.config.load import load_config
from zeroproxy.config.schema import Admin, Config, Metering
from zeroproxy.errors import UsageError

if TYPE_CHECKING:
    from msgspec import Struct

MASK = "***"
ACTIONS = ("reference", "example", "dump", "diff")
PACKAGE = Path(__file__).resolve().parent.parent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", choices=ACTIONS, help="reference: every key with its default; example NAME: a "
        "file to start from; dump: the values in effect, as TOML; diff: those that differ from the "
        "defaults, or from another file",
    )  # fmt: skip
    parser.add_argument("name", nargs="?", help="the example's name")
    parser.add_argument(
        "--from", dest="other", metavar="FILE",
        help="diff: the file to compare with; exit status 1 if anything differs",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Exit status: 0, or 1 if two files differ. Raises ConfigError or UsageError."""
    if args.action in ("reference", "example"):
        print(text_of("reference" if args.action == "reference" else args.name), end="")
        return 0
    source = source_of(args)
    if source is None:
        raise UsageError(f"config {args.action}: -c FILE is needed")
    config = source.load()
    if args.action == "dump":
        print(tomli_w.dumps(plain(config)), end="")
        return 0
    if args.other:
        return print_diff(load_config(args.other), config)
    print_changed(config)
    return 0


# ---------------------------------------------------------------- files that come with it


def examples() -> dict[str, Path]:
    """The files of conf/, by name: from the package, or from the source tree it runs in."""
    for folder in (PACKAGE / "conf", PACKAGE.parent / "conf"):
        if found := sorted(folder.glob("*.toml")):
            return {path.stem: path for path in found}
    return {}


def text_of(name: str | None) -> str:
    """The text of a file that comes with the package. Raises UsageError."""
    known = examples()
    if name not in known:
        wanted = "config example: " + (f'there is no "{name}"' if name else "a NAME is needed")
        raise UsageError(f"{wanted}: one of {', '.join(known)}")
    return known[name].read_text(encoding="utf-8")


# ---------------------------------------------------------------- values in effect


def plain(value: Any, cover: str = MASK) -> Any:
    """`value` as TOML holds it, without what is absent. `cover` is shown for secrets; empty: they
    are not hidden."""
    if isinstance(value, msgspec.Struct):
        hints = hints_of(type(value))
        tag = value.__struct_config__.tag
        table = {} if tag is None else {"kind": tag}
        for name in value.__struct_fields__:
            one = getattr(value, name)
            if one is not None:
                hidden = cover and is_secret(hints[name])
                table[name] = mask(one, cover) if hidden else plain(one, cover)
        return table
    if isinstance(value, list | tuple):
        return [plain(one, cover) for one in value]
    return value


def not_default(value: Struct, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(key, value, default) of each key that differs from its default, secrets covered. A key
    without a default has NODEFAULT."""
    hints = hints_of(type(value))
    for field in msgspec.structs.fields(value):
        here = f"{key}.{field.name}" if key else field.name
        one, default = getattr(value, field.name), default_of(field)
        if one is None or one == default:
            continue
        if isinstance(one, msgspec.Struct):
            yield from not_default(one, here)
        elif isinstance(one, tuple) and any(isinstance(e, msgspec.Struct) for e in one):
            for k, element in enumerate(one):
                if isinstance(element, msgspec.Struct):
                    yield from not_default(element, f"{here}[{k}]")
                else:
                    yield f"{here}[{k}]", element, msgspec.NODEFAULT
        else:
            yield here, mask(one, MASK) if is_secret(hints[field.name]) else plain(one), default


def default_of(field: msgspec.structs.FieldInfo) -> Any:
    factory = field.default_factory
    return field.default if factory is msgspec.NODEFAULT else factory()


def print_changed(config: Config) -> None:
    """Print the keys that differ from what a file without them gives."""
    for key, value, default in not_default(config):
        usual = default
        if key in ("admin.listen", "metering.ledger"):
            # The defaults of a file, which a program's Config does not have.
            table, name = key.split(".")
            usual = getattr(Admin() if table == "admin" else Metering(), name)
            if value == usual:
                continue
        shown = "" if usual is msgspec.NODEFAULT else f"  # default {as_json(plain(usual))}"
        print(f"{key} = {as_json(value)}{shown}")


def flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every key with its value as JSON, dotted; elements of [[upstream]] and its like by number."""
    if isinstance(value, dict) and value:
        for name, one in value.items():
            yield from flat(one, f"{key}.{name}" if key else name)
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        for k, one in enumerate(value):
            yield from flat(one, f"{key}[{k}]")
    else:
        yield key, as_json(value)


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def print_diff(old: Config, new: Config) -> int:
    """Print the keys whose values differ; 1 if there are any. Secrets are compared, not shown."""
    known, given = dict(flat(plain(old, ""))), dict(flat(plain(new, "")))
    changed = [key for key in (known | given) if known.get(key) != given.get(key)]
    before, after = dict(flat(plain(old))), dict(flat(plain(new)))
    for key in changed:
        if key in before:
            print(f"- {key} = {before[key]}")
        if key in after:
            print(f"+ {key} = {after[key]}")
    return 1 if changed else 0
