"""Prose of a file as passages: docstrings, comments, paragraphs of a page. Code stays out."""

import contextlib
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path

#: Folders and files that hold prose of ours.
ROOTS = (
    "zeroproxy", "tests", "bench", "fuzz", "tools", "docs", "conf", "deploy", "setup.py",
    "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md",
)  # fmt: skip
PYTHON = {".py", ".pyi", ".pyx", ".pxd"}
C = {".c", ".h"}
KNOWN = PYTHON | C | {".md", ".toml"}
LAYOUT = (
    tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT,
    tokenize.ENCODING,
)  # fmt: skip
C_COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*"|/\*(.*?)\*/|//([^\n]*)', re.S)


@dataclass(frozen=True)
class Passage:
    """`line` is that of the first line of `text`; `kind`: docstring, comment or page."""

    path: Path
    line: int
    kind: str
    text: str

    def line_of(self, offset: int) -> int:
        return self.line + self.text.count("\n", 0, offset)


def is_generated(path: Path) -> bool:
    """True if a build has written the file."""
    parts = set(path.parts)
    is_compiled = parts & {"_fast", "probes"} or path.with_suffix(".pyx").exists()
    if path.suffix == ".c" and is_compiled:
        return True
    return bool(parts & {"__pycache__", "build", "results", "bin"})


def files(roots: tuple[str, ...] | list[str] = ROOTS) -> list[Path]:
    """Files with prose below `roots`, sorted."""
    found: set[Path] = set()
    for root in map(Path, roots):
        inside = [root] if root.is_file() else root.rglob("*")
        found |= {p for p in inside if p.suffix in KNOWN and p.is_file() and not is_generated(p)}
    return sorted(found)


@cache
def tokens(text: str) -> list[tokenize.TokenInfo]:
    """Tokens of Python or Cython; those behind a damaged one are lost."""
    found: list[tokenize.TokenInfo] = []
    with contextlib.suppress(tokenize.TokenError, IndentationError):
        found.extend(tokenize.generate_tokens(StringIO(text).readline))
    return found


def unquoted(text: str) -> str:
    """A docstring without its quotes; blanks stand in their place."""
    quotes = re.match(r"[rRbBuU]*(\"\"\"|'''|\"|')", text)
    assert quotes is not None
    return " " * quotes.end() + text[quotes.end() : -len(quotes[1])]


def in_python(path: Path, text: str) -> Iterator[Passage]:
    """Docstrings and comments. Comment lines that follow each other are one passage."""
    block: list[str] = []
    first = last = 0
    previous = tokenize.ENCODING
    for token in tokens(text):
        if token.type == tokenize.COMMENT:
            words = re.sub(r"^#:?", "", token.string)
            is_own_line = not token.line[: token.start[1]].strip()
            if block and is_own_line and token.start[0] == last + 1:
                block.append(words)
            else:
                if block:
                    yield Passage(path, first, "comment", "\n".join(block))
                block, first = [words], token.start[0]
            last = token.start[0] if is_own_line else -1
        elif token.type == tokenize.STRING and previous in LAYOUT:
            yield Passage(path, token.start[0], "docstring", unquoted(token.string))
        if token.type not in (tokenize.NL, tokenize.COMMENT):
            previous = token.type
    if block:
        yield Passage(path, first, "comment", "\n".join(block))


def in_c(path: Path, text: str) -> Iterator[Passage]:
    for found in C_COMMENT.finditer(text):
        words = found[1] or found[2]
        if words:
            words = re.sub(r"^[ \t]*\*", "", words, flags=re.M)
            yield Passage(path, text.count("\n", 0, found.start()) + 1, "comment", words)


def in_page(path: Path, text: str) -> Iterator[Passage]:
    """Paragraphs, list items and headings; fenced code is left out, a row of a table is one."""
    block: list[str] = []
    first, is_code = 1, False
    for number, line in enumerate([*text.splitlines(), ""], 1):
        is_fence = line.lstrip().startswith("```")
        begins = is_fence or is_code or not line.strip()
        begins = begins or bool(re.match(r"\s*([-*] |\d+\. |#|\|)", line))
        if begins and block:
            yield Passage(path, first, "page", "\n".join(block))
            block = []
        is_code ^= is_fence
        if not is_code and not is_fence and line.strip():
            first = first if block else number
            block.append(line)


def in_toml(path: Path, text: str) -> Iterator[Passage]:
    block: list[str] = []
    for number, line in enumerate([*text.splitlines(), ""], 1):
        found = re.match(r"^#\s(.*)|^[^#\"]*(?:\"[^\"]*\"[^#\"]*)*#\s(.*)", line)
        words = (found[1] or found[2]) if found else None
        if words is not None and found is not None and found[1] is not None:
            block.append(words)
            continue
        if block:
            yield Passage(path, number - len(block), "comment", "\n".join(block))
            block = []
        if words:
            yield Passage(path, number, "comment", words)


def passages(path: Path) -> tuple[Passage, ...]:
    """Every passage of one file, in its order."""
    return read_passages(path, path.read_text())


@cache
def read_passages(path: Path, text: str) -> tuple[Passage, ...]:
    reader = {".md": in_page, ".toml": in_toml}.get(path.suffix, in_python)
    reader = in_c if path.suffix in C else reader
    return tuple(sorted(reader(path, text), key=lambda p: p.line))


def code_words(path: Path) -> set[str]:
    """Words of a file outside of comments and docstrings. Strings count as code."""
    text = path.read_text()
    if path.suffix in C:
        text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.S)
    elif path.suffix in PYTHON:
        skipped = {tokenize.COMMENT}
        kept, previous = [], tokenize.ENCODING
        for token in tokens(text):
            is_docstring = token.type == tokenize.STRING and previous in LAYOUT
            if token.type not in skipped and not is_docstring:
                kept.append(token.string)
            if token.type not in (tokenize.NL, tokenize.COMMENT):
                previous = token.type
        text = " ".join(kept)
    elif path.suffix == ".md":
        return set()
    return set(re.findall(r"[A-Za-z_]\w*", text))
