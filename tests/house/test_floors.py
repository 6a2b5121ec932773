"""The law of the stairs: imports go down only."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.house.floors import FLOORS, floor_of

ROOT = Path("zeroproxy")
FILES = [p for kind in ("*.py", "*.pyx", "*.pxd") for p in sorted(ROOT.rglob(kind))]
FROM = re.compile(r"^\s*from\s+(\S+)\s+c?import\s+(\([^)]*\)|[^\n]*)", re.M)
PLAIN = re.compile(r"^\s*c?import\s+([^\n#]*)", re.M)


def module_of(path: Path) -> str:
    name = ".".join(path.with_suffix("").relative_to(ROOT).parts)
    return name.removesuffix(".__init__")


MODULES = {module_of(p) for p in FILES}


def python_imports(text: str) -> list[tuple[str, list[str]]]:
    """(module, names) of every import of a Python file, those inside functions as well."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found.append((module, [n.name for n in node.names]))
        elif isinstance(node, ast.Import):
            found += [(n.name, []) for n in node.names]
    return found


def cython_imports(text: str) -> list[tuple[str, list[str]]]:
    """The same of a Cython file, imports and cimports alike."""
    bare = re.sub(r"#[^\n]*", "", re.sub(r'"""(?:.|\n)*?"""', "", text))
    found = [(m, re.findall(r"\w+", re.sub(r"\bas\s+\w+", "", n))) for m, n in FROM.findall(bare)]
    for names in PLAIN.findall(bare):
        found += [(name.split()[0], []) for name in names.split(",")]
    return found


def resolve(module: str, names: list[str]) -> set[str]:
    """Modules below zeroproxy that one import loads."""
    assert not module.startswith("."), f"relative import of {module}: write the whole name"
    if module.split(".")[0] != "zeroproxy":
        return set()
    base = module.removeprefix("zeroproxy").removeprefix(".")
    inner = {f"{base}.{name}".removeprefix(".") for name in names}
    return {name if name in MODULES else base for name in inner} or {base}


def imports_of(path: Path) -> set[str]:
    text = path.read_text()
    pairs = python_imports(text) if path.suffix == ".py" else cython_imports(text)
    return {name for pair in pairs for name in resolve(*pair)}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_file_has_a_floor(path):
    floor_of(module_of(path))


def test_the_map_shows_every_floor():
    """ARCHITECTURE.md and tests/house/floors.py are one table in two places."""
    table = Path("ARCHITECTURE.md").read_text().split("## Floors")[1].split("\n## ")[0]
    for name in (floor.removeprefix("_fast.") for floor in FLOORS):
        shown = (f"`{name}.py`", f"`{name}/`")
        assert any(s in table for s in shown), f"{name} is not in ARCHITECTURE.md's floors"


def test_every_floor_has_a_file():
    assert {floor_of(module_of(p)) for p in FILES} == set(range(len(FLOORS)))


def test_the_readers_of_imports_see_every_form():
    lines = """
from zeroproxy._fast.request cimport routing
from zeroproxy._fast.types.http cimport (
    Verdict,  # a comment
    Head as H,
)
cimport zeroproxy._fast.net.syscalls as s, zeroproxy._fast.net.conn
import zeroproxy.errors
from libc.stdint cimport int64_t
"""
    found = {name for pair in cython_imports(lines) for name in resolve(*pair)}
    below = {"request.routing", "types.http", "net.syscalls", "net.conn"}
    assert found == {f"_fast.{name}" for name in below} | {"errors"}
    lines = "from zeroproxy import embed, Proxy\nimport zeroproxy.admin.app, os\n"
    lines += "from zeroproxy.admin import metrics\ndef f():\n"
    lines += "    from zeroproxy.commands.demo import main\n"
    found = {name for pair in python_imports(lines) for name in resolve(*pair)}
    assert found == {"embed", "", "admin.app", "admin.metrics", "commands.demo"}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_imports_only_from_its_folder_and_from_below(path):
    here = module_of(path)
    for other in imports_of(path):
        assert floor_of(other) <= floor_of(here), f"{here} imports {other}, which is not below it"


def graph() -> dict[str, set[str]]:
    """Modules by what they import and cimport; a .pyx and its .pxd are one module."""
    edges: dict[str, set[str]] = {}
    for path in FILES:
        edges.setdefault(module_of(path), set()).update(imports_of(path) - {module_of(path)})
    return edges


def circle_in(edges: dict[str, set[str]]) -> list[str]:
    """Modules of one circle, the first of them again at its end; empty: there is none."""
    done: set[str] = set()

    def visit(module: str, trail: list[str]) -> list[str]:
        if module in trail:
            return [*trail[trail.index(module) :], module]
        if module in done:
            return []
        done.add(module)
        circles = (visit(other, [*trail, module]) for other in sorted(edges.get(module, ())))
        return next(filter(None, circles), [])

    return next(filter(None, (visit(module, []) for module in edges)), [])


def test_no_imports_go_in_a_circle():
    """Inside a folder too, cimports like imports."""
    circle = circle_in(graph())
    assert not circle, f"move what both need below them: {' > '.join(circle)}"


def test_a_circle_is_found():
    edges = {"a": {"b", "c"}, "b": {"c"}, "c": {"d"}, "d": {"b"}}
    assert circle_in(edges) == ["b", "c", "d", "b"]
    assert circle_in({**edges, "d": set()}) == []


def test_everything_in_the_wheel_is_imported_by_it():
    """Modules that only tests or benchmarks import belong to them (tests/probes)."""
    scripts = tomllib.loads(Path("pyproject.toml").read_text())["project"]["scripts"]
    entries = {entry.partition(":")[0].removeprefix("zeroproxy.") for entry in scripts.values()}
    edges, reached = graph(), {"__init__", "__main__", "embed"}
    waiting = [*reached, *entries]
    while waiting:
        module = waiting.pop()
        reached.add(module)
        packages = {module[:at] for at, char in enumerate(module) if char == "."}
        waiting += (edges.get(module, set()) | packages) - reached
    unused = sorted(set(edges) - reached)
    assert not unused, (
        f"nothing in the package imports {unused}: delete them, or move them to tests"
    )


def test_importing_the_package_imports_nothing_heavy():
    import subprocess
    import sys

    code = (
        "import sys, zeroproxy, zeroproxy._fast; "
        "print([m for m in sys.modules if m.startswith('zero')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "['zeroproxy', 'zeroproxy._fast']"
