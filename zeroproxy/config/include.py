"""`include`: more files of a configuration, merged into the one that names them.

Law. Tables are joined. Elements of [[upstream]], auth.key and metering.sinks are appended in order
     of the files. Any other key stands in one file; a second one is an error that names both.
Tests: tests/unit/test_include.py.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from zeroproxy.config.base import KeyPath, Wrong

#: Arrays whose elements may come from several files.
APPENDED: tuple[KeyPath, ...] = (("upstream",), ("auth", "key"), ("metering", "sinks"))
#: Called with the merged path of a value, and its path in its own file.
Moved = Callable[[KeyPath, KeyPath], None]


def paths_of(patterns: list[Any], folder: Path) -> Iterator[tuple[int, str]]:
    """The files, each with the number of its pattern, in order. A pattern with a wildcard may match
    none; a plain name is there even if its file is not."""
    for k, pattern in enumerate(patterns):
        path = folder / str(pattern)
        if glob.has_magic(str(pattern)):
            # An absolute pattern is one from the root.
            start, below = (folder, str(pattern)) if not path.is_absolute() else (
                Path(path.anchor), str(path.relative_to(path.anchor)))  # fmt: skip
            yield from ((k, str(found)) for found in sorted(start.glob(below)))
        else:
            yield k, str(path)


def merge(
    base: dict[str, Any],
    added: dict[str, Any],
    moved: Moved,
    owner: Callable[[KeyPath], str],
    wrong: Wrong,
    path: KeyPath = (),
) -> dict[str, Any]:
    """`base` with `added` in it. `owner` names the file of a value. Raises what `wrong` makes."""
    merged = dict(base)
    for key, value in added.items():
        here = (*path, key)
        old = merged.get(key)
        if key not in merged:
            merged[key] = value
            moved(here, here)
        elif isinstance(old, dict) and isinstance(value, dict):
            merged[key] = merge(old, value, moved, owner, wrong, here)
        elif here in APPENDED and isinstance(old, list) and isinstance(value, list):
            merged[key] = old + value
            for k in range(len(value)):
                moved((*here, len(old) + k), (*here, k))
        else:
            raise wrong(f"is in {owner(here)} too", here)
    return merged
