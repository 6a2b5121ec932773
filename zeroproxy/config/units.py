"""Numbers that are written as text: "5s", "10MB", and the digits that ${NAME} or --set gives.

Law. A unit is read where the key has a quantity, and nowhere else: "5s" is no share and no count.
Sizes go by powers of 1,024, with and without the i, as in nginx and Apache.
Tests: tests/unit/test_units.py.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, get_args, get_origin

from zeroproxy.config.base import KeyPath, Wrong, extra_of, hints_of, structs_in

#: The units of each quantity, and how many of the quantity's own one has.
UNITS: dict[str, dict[str, float]] = {
    "seconds": {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0},
    "bytes": {"b": 1, "k": 1 << 10, "kb": 1 << 10, "kib": 1 << 10, "m": 1 << 20, "mb": 1 << 20,
              "mib": 1 << 20, "g": 1 << 30, "gb": 1 << 30, "gib": 1 << 30},
    "days": {"d": 1, "w": 7},
}  # fmt: skip
EXAMPLES = {
    "seconds": 'seconds, as 5, "500ms" or "1h30m"',
    "bytes": 'bytes, as 65536, "64KiB" or "10MB"',
    "days": 'days, as 7, "7d" or "4w"',
}
NUMBER = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?")
PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?) ?([a-z]+) ?")


def quantity(text: str, unit: str) -> float | None:
    """`text` in the quantity's own unit; None: it is none. Parts add up: "1h30m"."""
    total, at = 0.0, 0
    text = text.strip().lower()
    while found := PART.match(text, at):
        if found[2] not in UNITS[unit]:
            return None
        total += float(found[1]) * UNITS[unit][found[2]]
        at = found.end()
    return total if at and at == len(text) else None


def shorten(text: str) -> str:
    return f'"{text}"' if len(text) <= 32 else "a text"


def number_in(text: str, kind: Any, path: KeyPath, wrong: Wrong) -> object:
    """The value of `text` where the key is a number or a switch; else `text` as it is."""
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if bare is bool:
        return {"true": True, "false": False}.get(text.strip(), text)
    if bare not in (int, float):
        return text
    unit = str(extra_of(kind, "unit") or "")
    value = quantity(text, unit) if unit else None
    if value is None and NUMBER.fullmatch(text.strip()):
        value = float(text) if bare is float or "." in text else int(text)
    if value is None:
        named = EXAMPLES.get(unit) or ("a number" if bare is float else "a whole number")
        raise wrong(f"expected {named}, got {shorten(text)}", path)
    if bare is int and value != int(value):
        whole = f"a whole number of {unit}" if unit else "a whole number"
        raise wrong(f"expected {whole}, got {shorten(text)}", path)
    return bare(value)


def read_numbers(value: Any, kind: Any, path: KeyPath, wrong: Wrong) -> Any:
    """`value`, which has the keys of `kind`, with each text that stands for a number or a switch
    replaced by it. Raises what `wrong` makes."""
    if isinstance(value, str):
        return number_in(value, kind, path, wrong)
    structs = structs_in(kind)
    if not structs:
        return value
    if isinstance(value, list):
        return [read_numbers(one, kind, (*path, k), wrong) for k, one in enumerate(value)]
    if not isinstance(value, dict):
        return value
    tagged = {str(s.__struct_config__.tag): s for s in structs}
    struct = structs[0] if len(structs) == 1 else tagged.get(str(value.get("kind")))
    hints = hints_of(struct) if struct is not None else {}
    return {
        key: read_numbers(one, hints.get(key, object), (*path, key), wrong)
        for key, one in value.items()
    }
