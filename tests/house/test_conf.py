"""Every conf/*.toml loads; reference.toml is complete and true."""

import tomllib
from pathlib import Path

import msgspec
import pytest

from zeroproxy.config.load import load_config, parse_config, structs_in
from zeroproxy.config.schema import (
    Alias,
    Config,
    Endpoint,
    Listen,
    ToJsonl,
    ToPostgres,
    ToRedis,
    Upstream,
)

#: Keys that the reference shows with a value, since they would be refused with their default.
SHOWN = ("auth.key.sha256",)
#: Structs that are elements of a list: their keys have no place of their own in the reference.
ELEMENTS = (Endpoint, Listen, Alias, ToRedis, ToPostgres, ToJsonl)
CONF = sorted(Path("conf").glob("*.toml"))


@pytest.mark.parametrize("path", CONF, ids=str)
def test_it_loads(path):
    assert load_config(path).upstream


def test_the_four_are_there():
    assert {p.stem for p in CONF} >= {"minimal", "sidecar", "prod", "reference"}


def defaults(struct: type[msgspec.Struct], prefix: str = "") -> dict[str, object]:
    """Every key with its default, dotted; keys without one are left out."""
    found: dict[str, object] = {}
    hints = msgspec.structs.fields(struct)
    for f in hints:
        name = f"{prefix}{f.name}"
        inner = [s for s in structs_in(f.type) if s not in ELEMENTS]
        if inner:
            found |= defaults(inner[0], f"{name}.")
        elif f.default is not msgspec.NODEFAULT:
            found[name] = list(f.default) if isinstance(f.default, tuple) else f.default
        elif f.default_factory is not msgspec.NODEFAULT:
            found[name] = f.default_factory()
        else:
            found[name] = msgspec.NODEFAULT
    return found


def flatten(table: dict[str, object], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in table.items():
        if key == "upstream" or f"{prefix}{key}" in ("auth.key", "auth.jwt"):
            (value,) = value
        if isinstance(value, dict) and value:  # an empty one is a value: otel.headers
            found |= flatten(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def test_the_reference_names_every_key_and_its_real_default():
    code = defaults(Config)
    text = flatten(tomllib.loads(Path("conf/reference.toml").read_text()))
    assert sorted(text) == sorted(code)
    for key, value in code.items():
        if value is not msgspec.NODEFAULT and key not in SHOWN:
            assert text[key] == value, key


def test_what_has_no_default_is_only_what_cannot_have_one():
    code = defaults(Config)
    assert [k for k, v in code.items() if v is msgspec.NODEFAULT] == [
        "upstream.name", "upstream.endpoints", "auth.jwt.issuer", "auth.jwt.audience",
        "auth.jwt.jwks",
    ]  # fmt: skip
    assert Upstream.__struct_fields__[:2] == ("name", "endpoints")


def test_the_reference_shows_every_kind_of_sink_with_its_real_defaults():
    lines = Path("conf/reference.toml").read_text().splitlines()
    shown = [line.removeprefix("#").strip() for line in lines if line.startswith("#   { kind")]
    text = Path("conf/minimal.toml").read_text()
    sinks = parse_config(f"{text}\n[metering]\nsinks = [{', '.join(shown)}]\n").metering.sinks
    assert [type(sink) for sink in sinks] == [ToRedis, ToPostgres, ToJsonl]
    for line, sink in zip(shown, sinks, strict=True):
        table = tomllib.loads(f"x = {line}")["x"]
        for f in msgspec.structs.fields(type(sink)):
            if f.default not in (msgspec.NODEFAULT, ""):
                assert table[f.name] == f.default == getattr(sink, f.name), f.name
