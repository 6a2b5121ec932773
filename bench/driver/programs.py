"""Compile the C programs of bench/load, each when it is older than its sources.

usage: programs.py [FOLDER]     (default: bench/bin)
"""

import os
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[1]
LOAD = BENCH / "load"
BIN = BENCH / "bin"
FLAGS = ("-O2", "-g1", "-std=gnu11", "-Wall", "-Wextra", "-Werror")
SOURCES = {
    "backend": ("backend.c", "request.c", "sse.c", "net.c"),
    "generator": ("generator.c", "options.c", "response.c", "net.c", "secure.c"),
    "relay": ("relay.c", "net.c"),
}


def is_stale(program: Path) -> bool:
    """A header may matter to any program: all sources count."""
    if not program.exists():
        return True
    made = program.stat().st_mtime
    return any(source.stat().st_mtime > made for source in LOAD.iterdir())


def compile_programs(folder: Path = BIN) -> dict[str, Path]:
    """The programs by name, compiled if need be. A compiler error ends the run."""
    folder.mkdir(parents=True, exist_ok=True)
    programs = {name: folder / name for name in SOURCES}
    compiler = os.environ.get("CC", "gcc")
    for name, program in programs.items():
        if is_stale(program):
            sources = [str(LOAD / source) for source in SOURCES[name]]
            subprocess.run([compiler, *FLAGS, "-o", str(program), *sources], check=True)
    return programs


if __name__ == "__main__":
    compile_programs(Path(sys.argv[1]) if len(sys.argv) > 1 else BIN)
