"""The base struct and types of every part of the configuration, and what their Meta tells."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from msgspec import Meta, Struct

from zeroproxy.errors import ConfigError

#: Where a value is: keys, and numbers of elements.
KeyPath = tuple[str | int, ...]
#: Makes the error for a value: a message, and where the value is.
Wrong = Callable[[str, KeyPath], ConfigError]

#: For Meta(extra=...). The quantities of numbers: config/units.py reads their units.
SECONDS = {"unit": "seconds"}
BYTES = {"unit": "bytes"}
DAYS = {"unit": "days"}
#: The value is a secret, or may hold one: nothing prints it.
SECRET = {"secret": True}

Seconds = Annotated[float, Meta(ge=0, le=86400 * 365, extra=SECONDS)]
Count = Annotated[int, Meta(ge=0, le=1 << 40)]
Weight = Annotated[int, Meta(ge=1, le=1000)]
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
Secret = Annotated[str, Meta(extra=SECRET)]


class Base(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen, keyword-only, closed: an unknown key is an error that names it."""

    def __repr__(self) -> str:
        """Without the values of secrets; that there is one is no secret."""
        hints = hints_of(type(self))
        inside = ", ".join(
            f"{name}={mask(value, '...') if is_secret(hints[name]) else value!r}"
            for name in self.__struct_fields__
            for value in (getattr(self, name),)
        )
        return f"{type(self).__name__}({inside})"


@functools.cache
def hints_of(struct: type[Struct]) -> dict[str, Any]:
    """The annotations of a struct, with what Annotated holds."""
    return get_type_hints(struct, include_extras=True)


def extra_of(kind: Any, name: str) -> Any:
    """The value under `name` in Meta(extra=...) of an annotation; None: there is none."""
    for meta in get_args(kind)[1:] if get_origin(kind) is Annotated else ():
        if isinstance(meta, Meta) and meta.extra and name in meta.extra:
            return meta.extra[name]
    return None


def is_secret(kind: Any) -> bool:
    return bool(extra_of(kind, "secret"))


def mask(value: Any, cover: str) -> Any:
    """`cover` in place of each text that is not empty; keys of a table stay."""
    if isinstance(value, dict):
        return {key: mask(one, cover) for key, one in value.items()}
    return cover if value else value


def structs_in(kind: Any) -> list[type[Struct]]:
    """The Struct types a field's annotation can hold."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return [kind]
    return [s for argument in get_args(kind) for s in structs_in(argument)]
