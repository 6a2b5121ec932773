# One recipe, three callers: you, .ci/run, and the next engineer. `make run` and `make test` need
# nothing but Python 3.11+ with venv, a C compiler and this checkout.

PYTHON ?= python3
VENV ?= .venv
PY = $(VENV)/bin/python
JOBS ?= 2
# What it takes to run and to build; then what tests and lint take as well.
RUN = $(VENV)/.run
STAMP = $(VENV)/.installed
PIP = $(PY) -m pip install -q --disable-pip-version-check
SHARED ?= $(abspath ../shared)
# Workers that share the tests (tests/conftest.py). None: WORKERS=0.
WORKERS ?= 2
PARALLEL = -n $(WORKERS)
SOURCES = $(wildcard $(addprefix zeroproxy/_fast/*/*., pyx pxd h))
PROBES = $(wildcard $(addprefix tests/probes/*., pyx pxd))
ASAN = LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1

.PHONY: run test compile debug sanitize race check fuzz fuzz-replay differential soak dist annotate clean
.PHONY: bench bench-check bench-micro bench-peers bench-pictures

run: $(VENV)/.compiled
	$(PY) -m zeroproxy demo

test: compile
	$(PY) -m pytest tests $(PARALLEL)

compile: $(STAMP) $(VENV)/.compiled $(VENV)/.probes

# The package itself is installed as a pointer to this checkout, with nothing compiled: that is done
# once, in place, and a change compiles what it concerns.
$(RUN): pyproject.toml
	@echo "zeroproxy: making $(VENV), installing what the proxy runs on"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) -U pip "setuptools>=77" "cython>=3.3.1,<3.4"
	@$(PY) tools/requirements.py | xargs -d '\n' $(PIP)
	@ZEROPROXY_PURE=1 PYTHONWARNINGS=ignore $(PIP) --no-build-isolation --no-deps -e .
	@touch $@

$(STAMP): $(RUN)
	@echo "zeroproxy: installing what tests and lint need"
	@$(PY) tools/requirements.py otel jwt redis postgres test check | xargs -d '\n' $(PIP)
	@touch $@

$(VENV)/.compiled: $(RUN) setup.py $(SOURCES)
	@echo "zeroproxy: compiling the data plane, about two minutes the first time"
	@ZEROPROXY_JOBS=$(JOBS) ZEROPROXY_PROGRESS=1 $(PY) setup.py -q build_ext --inplace
	@touch $@

# What only tests and benchmarks use is compiled for them alone.
$(VENV)/.probes: $(VENV)/.compiled $(PROBES)
	@ZEROPROXY_JOBS=$(JOBS) ZEROPROXY_PROBES=1 $(PY) setup.py -q build_ext --inplace
	@touch $@

# The other builds live in folders of their own, so that they never replace the release build.
debug: $(STAMP)
	$(PY) tools/build_variant.py debug build/debug
	cd build/debug && ZEROPROXY_SHARED=$(SHARED) $(CURDIR)/$(PY) -m pytest $(PARALLEL) \
		tests/unit tests/relay tests/e2e

SANITIZED ?= tests/unit tests/relay
sanitize: $(STAMP)
	$(PY) tools/build_variant.py sanitize build/sanitize
	cd build/sanitize && ZEROPROXY_SHARED=$(SHARED) $(ASAN) \
		$(CURDIR)/$(PY) -m pytest $(SANITIZED) $(PARALLEL) -p no:cacheprovider

# The thread of the data plane and the Engine API, under ThreadSanitizer: a race is exit status 66.
# No workers: pytest-xdist ignores the exit status of a worker.
RACED ?= tests/relay/test_thread.py tests/e2e/test_embed.py
race: $(STAMP)
	$(PY) tools/build_variant.py race build/race
	cd build/race && ZEROPROXY_SHARED=$(SHARED) LD_PRELOAD="$$($(CC) -print-file-name=libtsan.so)" \
		TSAN_OPTIONS="report_signal_unsafe=0 exitcode=66" \
		$(CURDIR)/$(PY) -m pytest $(RACED) -p no:cacheprovider

check: compile
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cython-lint zeroproxy/_fast tests/probes fuzz
	$(PY) tools/check_hints.py
	$(PY) -m pytest tests/house

bench: compile
	$(PY) bench/run.py

# Coverage-guided, 1 M executions times SCALE: fuzz/README.md. Needs clang with libFuzzer.
SCALE ?= 1
fuzz: $(STAMP)
	ZEROPROXY_JOBS=$(JOBS) $(PY) tools/build_fuzzers.py build/fuzz
	$(PY) fuzz/seeds.py $(SHARED) build/fuzz/seeds
	nice $(PY) fuzz/run.py build/fuzz $(SCALE)

fuzz-replay:
	$(PY) fuzz/run.py build/fuzz $(TARGET) $(INPUT)

# Instructions per event and per request, and CPU time over the bare relay's, against
# bench/baseline.json; ARGS=--no-ratios for instructions only, ARGS=--update for new ones.
bench-check: compile
	$(PY) bench/check.py $(ARGS)

# The pictures of the documentation, from a run: RESULTS="A.json B.json", else the newest.
RESULTS ?= $(lastword $(sort $(wildcard bench/results/2*.json)))
bench-pictures: $(STAMP)
	$(PY) bench/report.py $(RESULTS) -o docs/bench --no-page

# Peers that are no Debian packages, each in a venv of its own under build/peers.
bench-peers: $(STAMP)
	$(PY) bench/peers.py

bench-micro: compile
	$(PY) -m pytest bench/micro -o addopts= -q -p no:cacheprovider --benchmark-quiet

# Generated input against the oracles, in the sanitizer build; EXAMPLES per property.
EXAMPLES ?= 20000
differential: $(STAMP)
	$(PY) tools/build_variant.py sanitize build/sanitize
	cd build/sanitize && ZEROPROXY_SHARED=$(SHARED) ZEROPROXY_EXAMPLES=$(EXAMPLES) $(ASAN) \
		$(CURDIR)/$(PY) -m pytest $(PARALLEL) -p no:cacheprovider --timeout 3600 \
		tests/unit/test_http1_differential.py tests/unit/test_meter.py tests/unit/test_body.py

# Days in minutes: aborts, reloads, killed endpoints; memory, descriptors and counters are sampled.
DURATION ?= 1800
soak: compile
	$(PY) -m bench.soak --seconds $(DURATION)

# The sdist and the wheel, each built twice; the same bytes both times or it fails.
dist: $(STAMP)
	$(PY) -m pip install -q --disable-pip-version-check "build>=1.2"
	$(PY) tools/build_twice.py dist

annotate: $(STAMP)
	ZEROPROXY_ANNOTATE=1 $(PY) setup.py -q build_ext --inplace --force

clean:
	rm -rf build $(VENV)/.compiled $(VENV)/.probes
	find zeroproxy/_fast tests/probes \( -name '*.so' -o -name '*.c' -o -name '*.html' \) -delete
