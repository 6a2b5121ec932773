"""The law of the stairs: imports go down only."""

import ast
import re
from pathlib import Path

import pytest

from tests.house.floors import rank_of

ROOT = Path("zeroproxy")
FILES = [p for kind in ("*.py", "*.pyx", "*.pxd") for p in sorted(ROOT.rglob(kind))]
CIMPORT = re.compile(r"^\s*from (zeroproxy[\w.]*) c?import|^\s*c?import (zeroproxy[\w.]*)", re.M)


def module_of(path: Path) -> str:
    name = ".".join(path.with_suffix("").relative_to(ROOT).parts)
    return name.removesuffix(".__init__")


MODULES = {module_of(p) for p in FILES}


def imports_of(path: Path) -> set[str]:
    """Modules below zeroproxy that a file imports when it is loaded."""
    text = path.read_text()
    if path.suffix != ".py":
        return {(a or b).removeprefix("zeroproxy.") for a, b in CIMPORT.findall(text)}
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zeroproxy."):
            module = str(node.module).removeprefix("zeroproxy.")
            for name in node.names:
                inner = f"{module}.{name.name}"
                found.add(inner if inner in MODULES else module)
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names if a.name.startswith("zeroproxy.")]
            found |= {n.removeprefix("zeroproxy.") for n in names}
    return found


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_imports_only_from_below(path):
    here = module_of(path)
    if here == "":
        return
    package = here.split(".")[0]
    for other in imports_of(path):
        if other == here or (package != "_fast" and other.split(".")[0] == package):
            continue
        assert rank_of(other) < rank_of(here), f"{here} imports {other}, which is not below it"


def test_packages_of_python_floors_have_no_circles():
    edges = {module_of(p): imports_of(p) for p in FILES if p.suffix == ".py"}
    state: dict[str, int] = {}

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert state.get(module) != 1, f"a circle: {' > '.join((*trail, module))}"
        if state.get(module) == 2:
            return
        state[module] = 1
        for other in edges.get(module, ()):
            visit(other, (*trail, module))
        state[module] = 2

    for module in edges:
        visit(module, ())


def test_importing_the_package_imports_nothing_heavy():
    import subprocess
    import sys

    code = "import sys, zeroproxy, zeroproxy._fast; print([m for m in sys.modules if 'zero' in m])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "['zeroproxy', 'zeroproxy._fast']"
