"""The list of extensions and four switches, nothing else. Metadata: pyproject.toml.

ZEROPROXY_DEBUG=1      -O0, invariants abort and name the .pyx line
ZEROPROXY_SANITIZE=1   AddressSanitizer and UndefinedBehaviorSanitizer (implies debug)
ZEROPROXY_ANNOTATE=1   Cython's HTML annotation beside each .pyx
ZEROPROXY_JOBS=N       parallel compiles, default 2
"""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MODULES = (
    "outcome",
    "buffer",
    "exchange",
    "breaker",
    "pace",
    "line",
    "values",
    "fields",
    "rules",
    "startline",
    "http1",
    "body",
    "headers",
    "scan",
    "vocabulary",
    "fold",
    "jsonwalk",
    "frames",
    "sse",
    "meter",
    "asked",
    "keyed",
    "strip",
    "ring",
    "stats",
    "reactor",
    "timer",
    "conn",
    "keepalive",
    "endpoint",
    "balance",
    "idle",
    "deadline",
    "identity",
    "metering",
    "settle",
    "room",
    "answer",
    "dispatch",
    "editing",
    "routing",
    "affinity",
    "intake",
    "request",
    "response",
    "tunnel",
    "relay",
    "roster",
    "snapshot",
    "engine",
    "probe_http1",
    "probe_meter",
    "probe_core",
    "probe_balance",
)

SANITIZE = bool(os.environ.get("ZEROPROXY_SANITIZE"))
DEBUG = SANITIZE or bool(os.environ.get("ZEROPROXY_DEBUG"))
JOBS = int(os.environ.get("ZEROPROXY_JOBS", "2"))

FLAGS = ["-g1", "-Wall", "-Wextra", "-Wno-sign-compare", "-Wno-unused-function"]
FLAGS += ["-Wno-unused-parameter", "-Wno-cast-function-type", "-Wno-missing-field-initializers"]
MACROS = [("ZP_DEBUG", "1" if DEBUG else "0"), ("CYTHON_WITHOUT_ASSERTIONS", "1")]
LINK: list[str] = ["-lm"]
if SANITIZE:
    SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    FLAGS += ["-O1", "-g", "-UNDEBUG", "-fno-omit-frame-pointer", *SANITIZERS]
    LINK += SANITIZERS
elif DEBUG:
    FLAGS += ["-O0", "-g", "-UNDEBUG"]
else:
    FLAGS += ["-O3", "-fno-plt"]

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "embedsignature": True,
}


class ParallelBuild(build_ext):
    def finalize_options(self):
        super().finalize_options()
        self.parallel = JOBS


extensions = [
    Extension(
        f"zeroproxy._fast.{name}",
        [f"zeroproxy/_fast/{name}.pyx"],
        include_dirs=["zeroproxy/_fast"],
        define_macros=MACROS,
        extra_compile_args=FLAGS,
        extra_link_args=LINK,
        depends=[f"zeroproxy/_fast/{h}.h" for h in ("invariant", "atomics", "grammar", "hash")],
    )
    for name in MODULES
]

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
    cmdclass={"build_ext": ParallelBuild},
)
