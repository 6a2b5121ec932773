"""Nothing prints but programs (R10): the rest logs, and its host decides what becomes of it."""

import ast
from pathlib import Path

import pytest

#: Places of the package whose programs print their results; everything else logs.
PRINTERS = ("commands", "sim", "loadtest", "__main__.py")


def prints(text: str) -> list[int]:
    """Lines that print, or name a standard stream."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            found.append(node.lineno)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stderr", "sys.stdout"):
            found.append(node.lineno)
    return found


@pytest.mark.parametrize(
    "path",
    [p for p in sorted(Path("zeroproxy").rglob("*.py")) if p.parts[1] not in PRINTERS],
    ids=str,
)
def test_nothing_prints_but_programs(path):
    found = prints(path.read_text())
    assert found == [], f'{path}: use logging.getLogger("zeroproxy"), its host decides; {found}'


def test_every_way_to_print_is_seen():
    text = "print(1)\nsys.stderr.write('x')\nshow(file=sys.stdout)\nself.print(1)\nlog.info(1)\n"
    assert prints(text) == [1, 2, 3]
