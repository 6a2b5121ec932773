"""Which line of a TOML text a key stands on.

tomllib gives values without positions; an error without a line is half an error. This reads only
what it needs: headers, keys at the start of a line, and keys inside inline tables and arrays. For
anything it cannot find it answers with the nearest enclosing table.
"""

from __future__ import annotations

import re

KEY = r"(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')"
DOTTED = rf"{KEY}(?:\s*\.\s*{KEY})*"
HEADER = re.compile(rf"^\s*(\[\[?)\s*({DOTTED})\s*\]\]?\s*(?:#.*)?$")
ASSIGN = re.compile(rf"^\s*({DOTTED})\s*=")
INNER = re.compile(rf"[{{,]\s*({DOTTED})\s*=")

Path = tuple[str | int, ...]


def parts(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in re.findall(KEY, dotted)]


class Lines:
    """Positions of every table and key of `text`; lines count from 1."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}
        table: Path = ()
        key: Path = ()
        for number, line in enumerate(text.splitlines(), 1):
            if header := HEADER.match(line):
                table = self._open(header[1] == "[[", parts(header[2]), number)
                key = table
            elif assign := ASSIGN.match(line):
                key = (*table, *parts(assign[1]))
                self._note(key, number)
                self._inner(key, line[assign.end() :], number)
            else:
                self._inner(key, line, number)

    def _note(self, path: Path, number: int) -> None:
        for depth in range(1, len(path) + 1):
            self._lines.setdefault(path[:depth], number)

    def _open(self, is_array: bool, names: list[str], number: int) -> Path:
        """The path of a table header; an array of tables gets its next index."""
        path: Path = ()
        for depth, name in enumerate(names):
            path = (*path, name)
            if is_array and depth == len(names) - 1:
                self._counts[path] = self._counts.get(path, -1) + 1
                self._lines.setdefault(path, number)
                path = (*path, self._counts[path])
            elif path in self._counts:
                path = (*path, self._counts[path])
        self._note(path, number)
        return path

    def _inner(self, key: Path, text: str, number: int) -> None:
        """Keys of inline tables on this line; nesting beyond one level is found by name only."""
        bare = re.sub(r"\"[^\"]*\"|'[^']*'", lambda m: "_" * len(m[0]), text)
        for found in INNER.finditer(bare):
            self._lines.setdefault((*key, *parts(found[1])), number)

    def find(self, path: Path) -> int:
        """The line of `path`, or of its nearest known ancestor; 0 if nothing is known."""
        for depth in range(len(path), 0, -1):
            if path[:depth] in self._lines:
                return self._lines[path[:depth]]
        named = tuple(part for part in path if not isinstance(part, int))
        for depth in range(len(named), 0, -1):
            if named[:depth] in self._lines:
                return self._lines[named[:depth]]
        return 0
