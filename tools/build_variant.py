"""Build a checked variant in a folder of its own: a copy of the sources and the tests, compiled in
place there. The release build beside it stays what it was.

usage: build_variant.py debug|sanitize|race FOLDER
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SWITCH = {
    "debug": "ZEROPROXY_DEBUG",
    "sanitize": "ZEROPROXY_SANITIZE",
    "race": "ZEROPROXY_RACE",
}
PARTS = (
    "zeroproxy",
    "tests",
    "bench",
    "conf",
    "setup.py",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)


SKIPPED = {"__pycache__", "bin", "results"}
GENERATED = {".so", ".c", ".html"}


def is_source(path: Path) -> bool:
    """Neither a cache, nor what a build has left beside the sources."""
    if path.name in SKIPPED or path.suffix == ".so":
        return False
    return not (path.suffix in GENERATED and path.with_suffix(".pyx").exists())


def copy_newer(source: Path, target: Path) -> None:
    """Copy what changed, so that only what changed is compiled again."""
    if source.is_dir():
        for child in filter(is_source, source.iterdir()):
            copy_newer(child, target / child.name)
    elif not target.exists() or source.stat().st_mtime > target.stat().st_mtime:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def main() -> int:
    variant, folder = sys.argv[1], Path(sys.argv[2]).resolve()
    for part in PARTS:
        copy_newer(Path(part), folder / part)
    shared = Path("../shared").resolve()
    environ = {
        **os.environ,
        SWITCH[variant]: "1",
        "ZEROPROXY_PROBES": "1",
        "ZEROPROXY_SHARED": str(shared),
    }
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    return subprocess.run(build, cwd=folder, env=environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
