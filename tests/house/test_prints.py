"""Nothing prints but programs (R10): the rest logs, and its host decides what becomes of it."""

import ast
import re
from pathlib import Path

import pytest

#: Folders of the package whose programs print their results; everything else logs.
PRINTERS = ("commands", "sim", "loadtest")


def prints(text: str) -> list[int]:
    """Lines that call print, or write to a standard stream."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called == "print" or re.match(r"sys\.(?:stdout|stderr)\b.*\.write(?:lines)?$", called):
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


def test_a_print_is_seen():
    text = (
        "import sys\nprint(1)\nsys.stderr.write('x')\nsys.stdout.buffer.write(b'')\nconsole.print()"
    )
    assert prints(text) == [2, 3, 4]
