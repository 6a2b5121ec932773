"""Checks of upstream.surface: paths, names of fields and members."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from zeroproxy.config.base import KeyPath, Wrong
from zeroproxy.config.schema import Upstream
from zeroproxy.config.surface import ALL, INFERENCE, Surface, parse_path

# Bytes and numbers that the data plane has room for.
PATH_MAX, PATHS_MAX = 1024, 2048
NAME_MAX, HEADERS_MAX, MEMBERS_MAX = 40, 256, 64
# RFC 9110 5.6.2; "*" stands behind a prefix only.
HEADER = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]{4,40}\*?")
# Shown in an error as it is.
MEMBER = re.compile(r"[!#-)+-\[\]-~]{1,40}\*?")
# Written by the proxy itself, or needed to read the body.
OWN_HEADERS = (
    "host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade",
    "keep-alive", "expect", "content-type", "content-encoding",
)  # fmt: skip


def check_paths(paths: str | Sequence[str], path: KeyPath, wrong: Wrong) -> None:
    if isinstance(paths, str):
        if paths not in (ALL, INFERENCE):
            raise wrong(f'"{paths}" is neither "{INFERENCE}", "{ALL}" nor a list of paths', path)
        return
    if not paths:
        raise wrong(f'has no path: nobody could ask anything; "{ALL}" passes every path', path)
    if len(paths) > PATHS_MAX:
        raise wrong(f"has more than {PATHS_MAX} paths", path)
    for k, entry in enumerate(paths):
        if entry == INFERENCE:
            continue
        if entry == ALL:
            raise wrong(f'"{ALL}" stands alone: paths = "{ALL}"', (*path, k))
        if len(entry) > PATH_MAX:
            raise wrong(f"is longer than {PATH_MAX} bytes", (*path, k))
        if entry in paths[:k]:
            raise wrong(f"{entry} is there twice", (*path, k))
        try:
            parse_path(entry)
        except ValueError as error:
            raise wrong(str(error), (*path, k)) from None


def check_names(
    names: Sequence[str], path: KeyPath, wrong: Wrong, is_name: Callable[[str], object], what: str
) -> None:
    for k, name in enumerate(names):
        if not is_name(name):
            raise wrong(f'"{name}" is no name of {what}, nor a prefix and *', (*path, k))


def check_surface(surface: Surface, path: KeyPath, wrong: Wrong) -> None:
    check_paths(surface.paths, (*path, "paths"), wrong)
    for key in ("strip_headers", "keep_headers"):
        names: tuple[str, ...] = getattr(surface, key)
        what = "a header field of 4 to 40 bytes"
        check_names(names, (*path, key), wrong, HEADER.fullmatch, what)
        if len(names) > HEADERS_MAX // 2:
            raise wrong(f"has more than {HEADERS_MAX // 2} names", (*path, key))
        for k, name in enumerate(names):
            if name.lower() in OWN_HEADERS:
                raise wrong(f"{name} cannot be removed: the proxy reads or writes it itself",
                            (*path, key, k))  # fmt: skip
    what = "a member: 1 to 40 printable ASCII bytes without quotes"
    check_names(surface.refuse_fields, (*path, "refuse_fields"), wrong, MEMBER.fullmatch, what)


def check_surfaces(upstreams: Sequence[Upstream], wrong: Wrong) -> None:
    known: set[str] = set()
    for k, upstream in enumerate(upstreams):
        path: KeyPath = ("upstream", k, "surface")
        check_surface(upstream.surface, path, wrong)
        known |= {name.lower() for name in upstream.surface.refuse_fields}
        if len(known) > MEMBERS_MAX:
            raise wrong(f"more than {MEMBERS_MAX} names in all upstreams",
                        (*path, "refuse_fields"))  # fmt: skip
