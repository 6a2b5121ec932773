"""House rules that a machine can check: budgets, clauses, forbidden words."""

import ast
import re
from pathlib import Path

import pytest

from tests.house.floors import WITHOUT_GIL

FAST = [
    p
    for root in ("zeroproxy/_fast", "tests/probes")
    for p in sorted(Path(root).rglob("*.p[yx][xd]"))
]
PYTHON = [p for root in ("zeroproxy", "bench", "fuzz") for p in sorted(Path(root).rglob("*.py"))]
TESTS = sorted(Path("tests").rglob("*.py"))
HEADERS = sorted(Path("zeroproxy/_fast/include").glob("*.h"))
FUZZ = [p for p in sorted(Path("fuzz").glob("*.*")) if p.suffix in (".c", ".h", ".pyx", ".pxd")]
OURS = [*FAST, *PYTHON, *HEADERS, *FUZZ, *sorted(Path("bench").rglob("*.c"))]

CLAUSES = ("noexcept nogil", "except -1", "except NULL", "except? 0")
SIGNATURE = re.compile(r"^[ ]*cdef (?!class|enum|struct|extern|packed)[^=\n(]*\b\w+\(", re.M)
PYTHON_TYPES = re.compile(r"^\s*cdef (inline )?(dict|list|str|bytes|object|tuple|set) \w+\(")


@pytest.mark.parametrize("path", [*OURS, *TESTS], ids=str)
def test_files_fit_on_400_lines(path):
    assert len(path.read_text().splitlines()) <= 400


def python_functions(path: Path) -> list[tuple[str, int]]:
    tree = ast.parse(path.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        (n.name, (n.end_lineno or 0) - n.lineno + 1) for n in ast.walk(tree) if isinstance(n, kinds)
    ]


def cython_functions(path: Path) -> list[tuple[str, int]]:
    """Length of each cdef/def body, by indentation."""
    lines = path.read_text().splitlines()
    found = []
    for start, line in enumerate(lines):
        if not re.match(r"\s*(cdef .*\)|def .*|cdef .*\($|cdef .*,)", line) or "extern" in line:
            continue
        if not re.match(r"\s*(cdef|def)\b", line) or re.match(r"\s*cdef (class|enum|struct)", line):
            continue
        indent = len(line) - len(line.lstrip())
        end = start + 1
        while end < len(lines) and (
            not lines[end].strip()
            or len(lines[end]) - len(lines[end].lstrip()) > indent
            or lines[end].lstrip().startswith((")", "):"))
        ):
            end += 1
        while not lines[end - 1].strip():
            end -= 1
        found.append((line.strip(), end - start))
    return found


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_python_functions_fit_on_40_lines(path):
    assert [f for f in python_functions(path) if f[1] > 40] == []


@pytest.mark.parametrize("path", [p for p in FAST if p.suffix == ".pyx"], ids=str)
def test_cython_functions_fit_on_40_lines(path):
    assert [f for f in cython_functions(path) if f[1] > 40] == []


def end_of_parentheses(text: str) -> int:
    """Offset behind the parenthesis that closes the first one."""
    depth = 0
    for at, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == ")" and depth == 0:
            return at + 1
    raise AssertionError(f"never closed: {text[:60]}")


@pytest.mark.parametrize("path", FAST, ids=str)
def test_every_signature_ends_with_its_clause(path):
    text = path.read_text()
    for found in SIGNATURE.finditer(text):
        rest = text[found.start() :]
        if PYTHON_TYPES.match(found[0]) or "extern from" in rest.split("\n", 1)[0]:
            continue
        clause = rest[end_of_parentheses(rest) :].split("\n", 1)[0].strip(" :\n")
        allowed = (*CLAUSES, "except *") if path.parent.name == "probes" else CLAUSES
        assert clause.startswith(allowed), f"{found[0].strip()}...) {clause}"


@pytest.mark.parametrize("path", FAST, ids=str)
def test_nothing_is_included_and_nothing_is_cpdef(path):
    text = path.read_text()
    assert not re.search(r"^\s*include ", text, re.M)
    assert not re.search(r"\bcpdef\b", text)
    assert not re.search(r"\bcimport \*", text)


def swallowed(text: str) -> list[str]:
    """`assert` and `raise` lines inside functions whose signature says noexcept."""
    found = []
    at, inside = 0, False
    for line in text.splitlines(keepends=True):
        if re.match(r"\s*(cdef|def|class)\b", line):
            signature = line
            if "(" in line:
                rest = text[at:]
                end = end_of_parentheses(rest)
                signature = rest[: end + len(rest[end:].split("\n", 1)[0])]
            inside = "noexcept" in signature
        if inside and re.match(r"\s*(assert|raise)\b", line):
            found.append(line.strip())
        at += len(line)
    return found


@pytest.mark.parametrize("path", FAST, ids=str)
def test_no_assert_or_raise_where_it_would_be_swallowed(path):
    assert swallowed(path.read_text()) == []


def test_a_signature_of_several_lines_is_read_whole():
    text = "cdef int f(\n    int a,\n    int b,\n) noexcept nogil:\n    raise X\n"
    assert swallowed(text) == ["raise X"]
    assert swallowed(text.replace("noexcept nogil", "except -1")) == []


@pytest.mark.parametrize("path", OURS, ids=str)
def test_nothing_is_left_for_later(path):
    assert not re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", path.read_text())


@pytest.mark.parametrize("folder", WITHOUT_GIL)
def test_hot_floors_never_take_the_gil(folder):
    sources = list(Path(f"zeroproxy/_fast/{folder}").glob("*.p[yx][xd]"))
    assert sources
    for path in sources:
        assert "with gil" not in path.read_text(), path
