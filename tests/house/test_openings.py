"""An opening that three tests of tests/relay share is a helper: tests/support/exchanges.py."""

import ast
from collections import defaultdict
from pathlib import Path

#: An opening of so many equal lines may occur twice.
LINES = 4
RELAY = sorted(Path("tests/relay").glob("test_*.py"))


def opening(function: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[str, ...]:
    """The first statements of a function; of a block its head and what it holds. The block that
    makes the script is not counted, nor is a docstring."""
    found: list[str] = []
    body = function.body
    while body and len(found) < LINES:
        first, *rest = body
        inner = getattr(first, "body", None)
        if inner is not None:
            found.append(ast.unparse(first).partition("\n")[0])
        elif not (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)):
            found.append(ast.unparse(first))
        body = inner or rest
        if found and found[0].startswith("with play("):
            found.clear()
    return tuple(found)


def openings(sources: dict[str, str]) -> dict[tuple[str, ...], list[str]]:
    """Functions by the opening that they share."""
    found = defaultdict(list)
    for name, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found[opening(node)].append(f"{name}:{node.lineno} {node.name}")
    return {lines: where for lines, where in found.items() if len(lines) == LINES}


def test_no_opening_occurs_three_times():
    assert len(RELAY) > 40
    found = openings({path.name: path.read_text() for path in RELAY})
    assert {lines: where for lines, where in found.items() if len(where) >= 3} == {}


def test_an_opening_is_found_wherever_it_stands():
    lines = ("d = s.downstream()", "d.send(post())", "u = s.upstream()", "u.receive()")
    plain = "def a(s):\n    'why'\n" + "".join(f"    {line}\n" for line in lines)
    block = "def b():\n    with play() as s:\n" + "".join(f"        {line}\n" for line in lines)
    found = openings({"x": f"{plain}    assert u\n{block}        assert d\n", "y": plain})
    assert found == {lines: ["x:1 a", "x:8 b", "y:1 a"]}
