"""Run the targets, each for a fixed number of executions, and print the result.

usage: run.py FOLDER [SCALE]            FOLDER: what build_fuzzers.py has built; SCALE: times the
                                        numbers below, 1 in CI
       run.py FOLDER TARGET INPUT       one input once more
Exit status 1: a target has found something; its input lies in FOLDER/found.
"""

import base64
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

#: target: (module, executions at scale 1, longest input)
TARGETS = {
    "request_head": ("kernels", 250_000, 4096),
    "response_head": ("kernels", 250_000, 4096),
    "body": ("kernels", 150_000, 2048),
    "meter": ("counting", 120_000, 2048),
    "request_scan": ("counting", 120_000, 1024),
    "strip": ("counting", 100_000, 2048),
    "engine": ("world", 12_000, 260),
}
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}


def environment(folder: Path, target: str) -> dict[str, str]:
    return {
        **os.environ,
        **SANITIZERS,
        "PYTHONHOME": sys.base_prefix,
        # Behind the build: what typed settings are made of.
        "PYTHONPATH": f"{folder}:{Path(msgspec.__file__).parents[1]}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ZEROPROXY_TARGET": f"fuzz.{TARGETS[target][0]}:{target}",
    }


def words_of(target: str) -> list[str]:
    is_json = TARGETS[target][0] == "counting"
    return [f"-dict={Path(__file__).with_name('words.dict')}"] if is_json else []


def run(folder: Path, target: str, scale: float) -> tuple[str, int, str]:
    """Run a target. Returns (target, exit status, the output of libFuzzer)."""
    _, runs, longest = TARGETS[target]
    corpus, found = folder / "corpus" / target, folder / "found"
    for each in (corpus, found):
        each.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [str(folder / "fuzz" / "fuzzer"), f"-runs={int(runs * scale)}", f"-max_len={longest}",
         "-seed=1", "-timeout=20", "-print_final_stats=1", *words_of(target),
         f"-artifact_prefix={found}/{target}-", str(corpus), str(folder / "seeds" / target)],
        env=environment(folder, target), capture_output=True, text=True, errors="replace",
        check=False,
    )  # fmt: skip
    return target, done.returncode, done.stderr


def replay(folder: Path, target: str, data: Path) -> int:
    """Run one input, with its output shown."""
    program = [str(folder / "fuzz" / "fuzzer"), str(data)]
    return subprocess.run(program, env=environment(folder, target), check=False).returncode


def number(text: str, pattern: str) -> int:
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def report_of(output: str, found: Path) -> str:
    """The sanitizer's report and the inputs themselves: a reader may not have their files."""
    begin = re.search(r"ERROR: |runtime error|deadly signal", output)
    inputs = (
        f"{path.name}, base64: {base64.b64encode(path.read_bytes()).decode()}"
        for path in sorted(found.iterdir())
    )
    return "\n".join((output[begin.start() if begin else -3000 :][:3000], *inputs))


def main() -> int:
    folder = Path(sys.argv[1]).resolve()
    if len(sys.argv) == 4:
        return replay(folder, sys.argv[2], Path(sys.argv[3]))
    scale = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    began, total, failed = time.monotonic(), 0, 0
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as crew:
        for target, status, output in crew.map(lambda t: run(folder, t, scale), TARGETS):
            runs = number(output, r"number_of_executed_units: (\d+)")
            total += runs
            failed += status != 0
            edges = number(output, r"cov: (\d+)")
            print(f"{target:14} {runs:>9,} executions, {edges:>5} edges, status {status}")
            if status:
                print(report_of(output, folder / "found"))
    seconds = time.monotonic() - began
    print(f"{total:,} executions in {seconds:.0f} s, {failed} targets found something")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
