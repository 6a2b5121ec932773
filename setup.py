"""Every .pyx of the data plane is an extension module; nine switches. Metadata: pyproject.toml.

ZEROPROXY_DEBUG=1      -O0, invariants abort and name the .pyx line
ZEROPROXY_SANITIZE=1   AddressSanitizer and UndefinedBehaviorSanitizer (implies debug)
ZEROPROXY_RACE=1       ThreadSanitizer (implies debug)
ZEROPROXY_FUZZ=1       the same with coverage for libFuzzer, and the targets of fuzz/ (needs clang)
ZEROPROXY_PROBES=1     the modules of tests/probes too, which only tests and benchmarks use
ZEROPROXY_ANNOTATE=1   Cython's HTML annotation beside each .pyx
ZEROPROXY_PURE=1       no extension at all: `pip install -e .` where they are built in place
ZEROPROXY_PROGRESS=1   a line now and then
ZEROPROXY_JOBS=N       parallel compiles, default 2
"""

import os
import time
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

FAST = Path("zeroproxy/_fast")
#: The headers of the data plane: atomics, hashes, system calls.
INCLUDE = FAST / "include"

FUZZ = bool(os.environ.get("ZEROPROXY_FUZZ"))
SANITIZE = FUZZ or bool(os.environ.get("ZEROPROXY_SANITIZE"))
RACE = bool(os.environ.get("ZEROPROXY_RACE"))
DEBUG = SANITIZE or RACE or bool(os.environ.get("ZEROPROXY_DEBUG"))
PROBES = bool(os.environ.get("ZEROPROXY_PROBES")) and not FUZZ
PURE = bool(os.environ.get("ZEROPROXY_PURE"))
PROGRESS = bool(os.environ.get("ZEROPROXY_PROGRESS"))
JOBS = int(os.environ.get("ZEROPROXY_JOBS", "2"))

FLAGS = ["-g1", "-Wall", "-Wextra", "-Wno-sign-compare", "-Wno-unused-function"]
FLAGS += ["-Wno-unused-parameter", "-Wno-cast-function-type", "-Wno-missing-field-initializers"]
# Where the sources lay is nobody's business: the same wheel wherever it is built.
FLAGS += [f"-ffile-prefix-map={Path.cwd()}=."]
MACROS = [("ZP_DEBUG", "1" if DEBUG else "0"), ("CYTHON_WITHOUT_ASSERTIONS", "1")]
LINK: list[str] = []
if SANITIZE or RACE:
    SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    SANITIZERS = ["-fsanitize=thread"] if RACE else SANITIZERS
    FLAGS += ["-O1", "-g", "-UNDEBUG", "-fno-omit-frame-pointer", *SANITIZERS]
    LINK += SANITIZERS
    FLAGS += ["-fsanitize=fuzzer-no-link"] if FUZZ else []
elif DEBUG:
    FLAGS += ["-O0", "-g", "-UNDEBUG"]
else:
    # Most code here runs once per request, and waits to be fetched: padding in front of loops and
    # labels costs more than it brings.
    FLAGS += ["-O3", "-fno-plt", "-falign-loops=1", "-falign-jumps=1", "-falign-labels=1"]

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "embedsignature": True,
}


class BuildWithExamples(build_py):
    """The files of conf/ go into the package: `zeroproxy config example` prints them."""

    def run(self):
        super().run()
        for source in sorted(Path("conf").glob("*.toml")):
            target = Path(self.build_lib) / "zeroproxy" / "conf" / source.name
            target.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(source), str(target))


class ParallelBuild(build_ext):
    def finalize_options(self):
        super().finalize_options()
        self.parallel = JOBS
        self.n_compiled = 0

    def build_extension(self, ext):
        begun = time.monotonic()
        super().build_extension(ext)
        # A module that is up to date takes no time.
        if not PROGRESS or time.monotonic() - begun < 0.1:
            return
        self.n_compiled += 1
        if self.n_compiled % 10 == 0:
            print(f"zeroproxy: compiled {self.n_compiled} of {len(self.extensions)}", flush=True)


#: Included in front of each module of the data plane: its system calls may fail by choice.
FAULTS = ["-include", "fuzz/faults.h"] if FUZZ else []


def extension(source: Path, flags: list[str], *include: Path) -> Extension:
    """The module of one .pyx, named after its path."""
    return Extension(
        ".".join(source.with_suffix("").parts),
        [str(source)],
        include_dirs=[str(folder) for folder in (*include, INCLUDE)],
        define_macros=MACROS,
        extra_compile_args=flags,
        extra_link_args=LINK,
        depends=sorted(map(str, INCLUDE.glob("*.h"))),
    )


sources = [] if PURE else sorted(FAST.rglob("*.pyx"))
extensions = [extension(source, FLAGS + FAULTS) for source in sources]
if PROBES:
    extensions += [
        extension(source, FLAGS) for source in sorted(Path("tests/probes").glob("*.pyx"))
    ]
if FUZZ:
    targets = ("kernels", "counting", "world")
    extensions += [extension(Path(f"fuzz/{name}.pyx"), FLAGS, Path("fuzz")) for name in targets]

setup(
    ext_modules=cythonize(
        extensions,
        nthreads=JOBS,
        compiler_directives=DIRECTIVES,
        emit_linenums=DEBUG,
        annotate=bool(os.environ.get("ZEROPROXY_ANNOTATE")),
        show_all_warnings=False,
        quiet=True,
    ),
    cmdclass={"build_ext": ParallelBuild, "build_py": BuildWithExamples},
)
