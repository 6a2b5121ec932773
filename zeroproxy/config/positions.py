"""Which line of a TOML text a key stands on.

tomllib gives values without positions; an error without a line is half an error. This walks the
same text once more and keeps only where things are: table headers, keys, array elements.

Law 1. The text has passed tomllib: nothing is validated here, and what cannot be understood ends
       the walk instead of raising.
Law 2. A line ends with LF, as in TOML and in editors; U+2028 and its like do not end one.
Tests: tests/unit/test_config_locator.py.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from collections.abc import Iterator

SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
# Numbers, booleans and times; a time may contain one space, so it ends where the value must.
SCALAR = re.compile(r"[^,\]}#\n]+")

Path = tuple[str | int, ...]


class NotUnderstood(Exception):
    """The text is not what Law 1 promises."""


class Lines:
    """Positions of every table, key and array element of `text`; lines count from 1."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._ends = [found.start() for found in re.finditer("\n", text)]
        self._lines: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}
        try:
            self._walk()
        except (NotUnderstood, tomllib.TOMLDecodeError):
            pass

    def find(self, path: Path) -> int:
        """The line of `path`, or of its nearest known ancestor; 0 if nothing is known."""
        for depth in range(len(path), 0, -1):
            if path[:depth] in self._lines:
                return self._lines[path[:depth]]
        return 0

    # ------------------------------------------------------------ the walk

    def _walk(self) -> None:
        table: Path = ()
        while self._peek():
            start = self._at
            if self._accept("["):
                is_array = self._accept("[")
                table = self._open(self._dotted_key(), start, is_array)
                self._expect("]" * (1 + is_array))
            else:
                self._assignment(table)

    def _assignment(self, table: Path) -> None:
        self._skip()
        start = self._at
        path = (*table, *self._dotted_key())
        self._note(path, start)
        self._expect("=")
        self._value(path)

    def _value(self, path: Path) -> None:
        if self._accept("["):
            for index in self._until("]"):
                self._note((*path, index), self._at)
                self._value((*path, index))
        elif self._accept("{"):
            for _ in self._until("}"):
                self._assignment(path)
        else:
            self._take(STRING if self._peek() in "\"'" else SCALAR)

    def _until(self, end: str) -> Iterator[int]:
        """Yields the index of each element, until `end` has been read."""
        index = 0
        while not self._accept(end):
            yield index
            index += 1
            if not self._accept(",") and self._peek() != end:
                raise NotUnderstood

    def _dotted_key(self) -> list[str]:
        names = [self._key()]
        while self._accept("."):
            names.append(self._key())
        return names

    def _key(self) -> str:
        if self._peek() not in ('"', "'"):
            return self._take(BARE_KEY)
        return next(iter(tomllib.loads(f"{self._take(STRING)} = 0")))

    # ------------------------------------------------------------ what was found

    def _open(self, names: list[str], start: int, is_array: bool) -> Path:
        """The path of a table header; an array of tables gets its next index."""
        path: Path = ()
        for depth, name in enumerate(names, 1):
            path = (*path, name)
            if is_array and depth == len(names):
                self._counts[path] = self._counts.get(path, -1) + 1
            if path in self._counts:
                self._note(path, start)
                path = (*path, self._counts[path])
        self._note(path, start)
        return path

    def _note(self, path: Path, start: int) -> None:
        line = bisect_left(self._ends, start) + 1
        for depth in range(1, len(path) + 1):
            self._lines.setdefault(path[:depth], line)

    # ------------------------------------------------------------ tokens

    def _skip(self) -> None:
        found = SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _peek(self) -> str:
        """The next character that means something; "" at the end."""
        self._skip()
        return self._text[self._at : self._at + 1]

    def _accept(self, token: str) -> bool:
        self._skip()
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            raise NotUnderstood

    def _take(self, pattern: re.Pattern[str]) -> str:
        self._skip()
        found = pattern.match(self._text, self._at)
        if not found:
            raise NotUnderstood
        self._at = found.end()
        return found[0]
