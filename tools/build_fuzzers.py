"""Build the fuzzing variant in a folder of its own.

The sources are compiled by clang with coverage, AddressSanitizer and UndefinedBehaviorSanitizer,
and so are the targets of fuzz/. One program holds libFuzzer and a Python.

usage: build_fuzzers.py FOLDER
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from build_variant import copy_newer

PARTS = ("zeroproxy", "fuzz", "setup.py", "pyproject.toml", "README.md", "LICENSE")
SANITIZERS = "-fsanitize=fuzzer,address,undefined"
#: Newest first; the versioned ones are what Debian installs.
COMPILERS = ("clang", *(f"clang-{n}" for n in range(21, 13, -1)))


def has_fuzzer(compiler: str) -> bool:
    """True if it can link libFuzzer: its run-time is a package apart."""
    empty = "int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return 0; }"
    probe = [compiler, SANITIZERS, "-x", "c", "-", "-o", os.devnull]
    return subprocess.run(probe, input=empty, text=True, capture_output=True).returncode == 0


def find_compiler() -> str:
    """A clang that has libFuzzer; ends the program if there is none."""
    for name in COMPILERS:
        if shutil.which(name) and has_fuzzer(name):
            return name
    sys.exit("NOT FUZZED: no clang with libFuzzer (Debian: apt-get install clang-14)")


def link_python() -> list[str]:
    """Options that link a program with this Python."""
    known = sysconfig.get_config_vars()
    folder = known["LIBDIR"] if known.get("Py_ENABLE_SHARED") else known["LIBPL"]
    flags = [f"-L{folder}", f"-lpython{known['LDVERSION']}", f"-Wl,-rpath,{folder}"]
    return [*flags, *known["LIBS"].split(), *known["SYSLIBS"].split()]


def build_main(compiler: str, folder: Path) -> int:
    """The program; the targets find sanitizers, libFuzzer and the faults in it."""
    include = sysconfig.get_paths()["include"]
    sources = [str(folder / "fuzz" / name) for name in ("main.c", "faults.c", "script.c")]
    command = [compiler, SANITIZERS, "-g", "-O1", "-rdynamic", f"-I{include}", *sources]
    return subprocess.run(
        [*command, "-o", str(folder / "fuzz" / "fuzzer"), *link_python()], check=False
    ).returncode


def main() -> int:
    folder, compiler = Path(sys.argv[1]).resolve(), find_compiler()
    for part in PARTS:
        copy_newer(Path(part), folder / part)
    environ = {
        **os.environ,
        "ZEROPROXY_FUZZ": "1",
        "CC": compiler,
        "LDSHARED": f"{compiler} -shared",
    }
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    failed = subprocess.run(build, cwd=folder, env=environ, check=False).returncode
    return failed or build_main(compiler, folder)


if __name__ == "__main__":
    sys.exit(main())
